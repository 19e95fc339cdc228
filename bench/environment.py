"""A real Python environment to run programs from: the running interpreter's, copied to work anywhere.

It holds the interpreter, its library, the standard library and the installed packages that a program
imports; files are copied, never linked, so that nothing written there reaches the original. A program
started with `run` gets every module and extension from the copy: `run` tells the interpreter where it
stands, and `PROGRAM` checks it.

Times are those of an environment that was installed a month ago: a filesystem has reason to believe that
old files stay as they are, and a copy made a minute ago would deny it that. What the .pyc files say of
their sources moves with them.
"""

import os
import shutil
import struct
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

AGE_S = 30 * 24 * 3600

# What no program here imports: a third of the bytes.
_NOT_COPIED_STDLIB = {"test", "tests", "idlelib", "turtledemo", "tkinter", "ensurepip"}
_NOT_COPIED_PACKAGES = {"include", "test", "tests"}

# Imports what a numerical program imports and computes a little. Prints one line that is the same wherever it
# runs, and fails when a module or a library of its own came from elsewhere than from the environment.
PROGRAM = """
import sys
import numpy, torch

torch.manual_seed(1)
torch.set_num_threads(1)
layer = torch.nn.Linear(64, 8)
total = layer(torch.arange(640, dtype=torch.float32).reshape(10, 64) / 640).sum().item()
singular = numpy.linalg.svd(numpy.arange(12.0).reshape(3, 4), compute_uv=False)

files = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
files += [line.split()[-1] for line in open("/proc/self/maps") if "libpython" in line or "/torch/" in line]
foreign = {file for file in files if file[0] == "/" and not file.startswith(sys.prefix + "/")}
assert not foreign, sorted(foreign)[:5]
print(f"torch {torch.__version__} numpy {numpy.__version__} {total:.4f} {singular[0]:.4f}")
"""
PROGRAM_PACKAGES = ("numpy", "torch")


class EnvironmentFailedError(RuntimeError):
    """The environment cannot be made, or a program failed in it; the message says how."""


def build(root: Path, packages: Iterable[str] = PROGRAM_PACKAGES) -> None:
    """Makes an environment at `root`, which does not exist, with these packages and what they import.

    Raises EnvironmentFailedError.
    """
    needed = _imported_by(packages)
    _copy_interpreter(root)
    site_packages = _site_packages(root)
    site_packages.mkdir(parents=True, exist_ok=True)
    _copy_packages(needed, site_packages)
    _age(root)


def run(root: Path, program: str, *, may_write: bool = False, timeout_s: float = 300.0) -> str:
    """Runs a program from the environment at `root`, perhaps seen through a mount; gives its output.

    may_write: let it write the .pyc files that are missing. Raises EnvironmentFailedError.
    """
    # -s, and nothing inherited: no module from the user's own directories.
    command = [str(_interpreter(root)), "-s", "-c", program]
    try:
        result = subprocess.run(
            command,
            env=_variables(root, may_write),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailedError(f"{root}: {error}") from error
    if result.returncode != 0:
        last = (result.stderr.strip() or f"exit status {result.returncode}").splitlines()[-1]
        raise EnvironmentFailedError(f"{root}: the program failed: {last}")
    return result.stdout


def complete(root: Path, program: str = PROGRAM) -> str:
    """Runs a program once where it is quick, to write the .pyc files that were not installed; its output."""
    started_s = time.time()
    output = run(root, program, may_write=True)
    for directory, _, names in os.walk(root, topdown=False):
        for path in (*(os.path.join(directory, name) for name in names), directory):
            if (status := os.lstat(path)).st_mtime >= started_s - 1:
                _set_back(path, status)
    return output


def _variables(root: Path, may_write: bool) -> Mapping[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONHOME": str(root),
        "LD_LIBRARY_PATH": str(root / "lib"),
        "PYTHONDONTWRITEBYTECODE": "" if may_write else "1",
    }


def _interpreter(root: Path) -> Path:
    return root / "bin" / f"python{_version()}"


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _copy_interpreter(root: Path) -> None:
    interpreter = _interpreter(root)
    interpreter.parent.mkdir(parents=True)
    _copy(Path(sys.executable).resolve(), interpreter)
    stdlib = Path(sysconfig.get_path("stdlib"))
    target = root / sys.platlibdir / stdlib.name
    skip = shutil.ignore_patterns("config-*", "site-packages", "dist-packages", *_NOT_COPIED_STDLIB)
    shutil.copytree(stdlib, target, symlinks=True, ignore=skip, copy_function=_copy)
    # A shared libpython, where the interpreter has one, is named by LDLIBRARY in LIBDIR.
    library_dir, library = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    if library_dir and library and (shared := Path(library_dir, library)).suffix != ".a" and shared.exists():
        (root / "lib").mkdir(exist_ok=True)
        _copy(shared.resolve(), root / "lib" / library)


def _site_packages(root: Path) -> Path:
    """Where this interpreter, standing at `root`, looks for packages: distributions differ."""
    return Path(run(root, "import site; print(site.getsitepackages()[0])").strip())


def _imported_by(packages: Iterable[str]) -> list[Path]:
    """The files and directories in the running interpreter's site-packages that these packages need."""
    program = (
        "import sys\n"
        f"import {', '.join(packages)}\n"
        "for module in list(sys.modules.values()):\n"
        "    if getattr(module, '__file__', None): print(module.__file__)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        reason = result.stderr.strip().rpartition("\n")[2]
        raise EnvironmentFailedError(f"{', '.join(packages)} cannot be imported here: {reason}")
    places = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    files = [Path(line) for line in result.stdout.splitlines()]
    tops = {place / file.relative_to(place).parts[0] for place in places for file in files if place in file.parents}
    # Wheels keep the libraries that they bring in NAME.libs beside the package.
    return sorted(tops | {libs for top in tops if (libs := top.with_name(f"{top.name}.libs")).is_dir()})


def _copy_packages(tops: Iterable[Path], site_packages: Path) -> None:
    for top in tops:
        target = site_packages / top.name
        if not top.is_dir():
            _copy(top, target)
            continue

        def skip(directory: str, names: list[str], top: Path = top) -> set[str]:
            return _NOT_COPIED_PACKAGES & set(names) if Path(directory) == top else set()

        shutil.copytree(top, target, symlinks=True, ignore=skip, copy_function=_copy)


def _copy(source: str | Path, target: str | Path) -> None:
    """With its times. copy_file_range shares the blocks where the filesystem can, and writes stay apart."""
    with open(source, "rb") as reading, open(target, "xb") as writing:
        left = os.fstat(reading.fileno()).st_size
        try:
            while left and (n := os.copy_file_range(reading.fileno(), writing.fileno(), left)):
                left -= n
        except OSError:  # other filesystems, an old kernel
            reading.seek(writing.seek(0, os.SEEK_END))
            shutil.copyfileobj(reading, writing, 1 << 20)
    shutil.copystat(source, target)


def _age(root: Path) -> None:
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if name.endswith(".pyc") and os.path.isfile(path):
                _age_pyc(path)
            _set_back(path, status)
    for directory, _, _ in os.walk(root, topdown=False):
        _set_back(directory, os.stat(directory))


def _set_back(path: str, status: os.stat_result) -> None:
    ns = AGE_S * 1_000_000_000
    os.utime(path, ns=(status.st_atime_ns - ns, status.st_mtime_ns - ns), follow_symlinks=False)


def _age_pyc(path: str) -> None:
    """The header: magic, flags (0: valid while the source has this mtime), mtime, size."""
    with open(path, "r+b") as file:
        header = file.read(16)
        if len(header) == 16 and header[4:8] == bytes(4):
            (mtime,) = struct.unpack_from("<I", header, 8)
            file.seek(8)
            file.write(struct.pack("<I", (mtime - AGE_S) & 0xFFFFFFFF))
