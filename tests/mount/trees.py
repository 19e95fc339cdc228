"""A tree with everything in it that a file system must show unchanged, and a way to say all that a tree shows."""

import hashlib
import os
import random
import stat
from pathlib import Path

EDGES = [0, 1, 511, 12345, *(near + 2**power for power in (12, 16, 17, 18, 20) for near in (-1, 0, 1))]


def make_mixed(root: Path, crowd: int = 10_000) -> None:
    """Text, binaries of odd sizes, holes, links, special files, hard names, deep paths and a directory of `crowd`."""
    rng = random.Random(7)
    for size in EDGES:
        (root / f"binary-{size}").write_bytes(rng.randbytes(size))
    (root / "text.txt").write_text("".join(f"line {i}: é ü 漢字\n" for i in range(3000)))
    (root / "two-and-a-bit.bin").write_bytes(rng.randbytes((2 << 20) + 777))

    with open(root / "sparse", "wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"an island")
        file.seek((3 << 20) + 5)
        file.write(b"the end")
    with open(root / "all-hole", "wb") as file:
        file.truncate(300_001)

    links = root / "links"
    links.mkdir()
    (links / "to-file").symlink_to("../text.txt")
    (links / "to-directory").symlink_to("../deep")
    (links / "dangling").symlink_to("nowhere/at all")
    (links / "absolute").symlink_to("/etc/hostname")
    (links / "to-itself").symlink_to("to-itself")
    (links / "long").symlink_to("x/" * 2000)
    os.link(root / "text.txt", links / "hard")
    os.link(root / "text.txt", root / "hard too")
    os.mkfifo(root / "fifo", 0o640)

    names = os.fsencode(root / "names")
    os.mkdir(names)
    for name in (
        b"n" * 255, "漢".encode() * 85, b"not-utf8-\xff\xfe\x80", b"new\nline", b"tab\tspace ", b"-rf", b"quote'\"\\",
        b"~", b"\x01\x7f", b".hidden", b"...", b"#*?[", b"a,b=c",
    ):  # fmt: skip
        with open(names + b"/" + name, "wb") as out:
            out.write(b"named " + name)

    deep = root / "deep"
    for level in range(60):
        deep = deep / f"level-{level}"
    deep.mkdir(parents=True)
    (deep / "bottom").write_bytes(b"far down")
    (root / "empty-directory").mkdir()

    modes = root / "modes"
    modes.mkdir()
    for mode in (0o000, 0o400, 0o644, 0o755, 0o1777, 0o4755, 0o2755, 0o6711):
        (modes / f"{mode:o}").write_bytes(b"mode")
        os.chmod(modes / f"{mode:o}", mode)
    if os.geteuid() == 0:
        for uid, gid in ((1234, 4321), (0, 99), (65533, 0)):
            (modes / f"of-{uid}-{gid}").write_bytes(b"owner")
            os.chown(modes / f"of-{uid}-{gid}", uid, gid)
    os.setxattr(root / "text.txt", "user.note", b"with \0 zero")
    os.setxattr(root / "text.txt", "user.empty", b"")
    os.setxattr(links, "user.on-directory", b"d" * 500)

    many = root / "many"
    many.mkdir()
    for i in range(crowd):
        fd = os.open(many / f"entry-{i:05}", os.O_WRONLY | os.O_CREAT, 0o644)
        if i % 100 == 0:
            os.write(fd, b"%d" % i)
        os.close(fd)

    for path, time_ns in (
        (root / "text.txt", 1_000_000_000_123_456_789), (root / "binary-4096", 1), (links / "dangling", 7_000_000_001),
        (root / "empty-directory", 2_000_000_000_999_999_999), (root / "fifo", 1_234_567_890_000_000_005),
    ):  # fmt: skip
        os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)


Shown = dict[bytes, tuple[object, ...]]
"""What a tree shows, by path."""

CROWDED = b"many"
"""Of this directory's files, only those that are not empty are opened: it is names that it is there for."""


def facts_of(path: bytes, with_content: bool) -> tuple[object, ...]:
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    content: object = None
    if kind == stat.S_IFLNK:
        content = os.readlink(path)
    elif kind == stat.S_IFREG and with_content:
        with open(path, "rb") as file:
            content = hashlib.blake2b(file.read()).hexdigest()
    xattrs = None
    if kind == stat.S_IFDIR or (kind == stat.S_IFREG and with_content):
        xattrs = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    return (
        st.st_mode,
        st.st_nlink,
        st.st_uid,
        st.st_gid,
        st.st_rdev,
        st.st_size,
        st.st_blocks,
        st.st_mtime_ns,
        content,
        xattrs,
    )


def snapshot(root: Path) -> Shown:
    """All that reading a tree shows, by path relative to it. Times of access apart: reading changes them."""
    top = os.fsencode(root)
    shown = {b".": facts_of(top, with_content=False)}
    waiting = [b""]
    while waiting:
        directory = waiting.pop()
        for entry in os.scandir(os.path.join(top, directory)):
            name = os.path.join(directory, os.fsencode(entry.name))
            is_read = directory != CROWDED or name.endswith(b"00")
            shown[name] = facts_of(os.path.join(top, name), is_read)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(name)
    return shown


def differences(expected: Shown, shown: Shown) -> list[tuple[object, ...]]:
    """What differs, in few words; empty where nothing does."""
    wrong = [
        (path, expected.get(path), shown.get(path))
        for path in sorted(expected.keys() | shown.keys())
        if expected.get(path) != shown.get(path)
    ]
    return wrong[:5]
