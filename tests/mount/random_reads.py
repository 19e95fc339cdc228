"""A program of the tests: random reads of files whose every page tells where it belongs. A wrong byte ends it."""

import hashlib
import mmap
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PAGE = 4096
READ_PAGES = (1, 1, 1, 1, 2, 8, 32)


def main(root: Path, files: int, size: int, reads: int, threads: int = 4) -> None:
    pages = size // PAGE
    words: dict[tuple[int, int], bytes] = {}

    def word(file: int, page: int) -> bytes:
        known = words.get((file, page))
        if known is None:
            known = words[file, page] = hashlib.blake2b(b"%d %d" % (file, page), digest_size=16).digest()
        return known

    def work(seed: int) -> None:
        rng = random.Random(seed)
        fds = [os.open(root / f"f{i}", os.O_RDONLY | os.O_DIRECT) for i in range(files)]
        buffer = mmap.mmap(-1, max(READ_PAGES) * PAGE)
        for _ in range(reads // threads):
            file = rng.randrange(files)
            # Half of the reads go to a small part: there are hits as well as evictions.
            first = rng.randrange(pages if rng.random() < 0.5 else pages // 32)
            count = min(rng.choice(READ_PAGES), pages - first)
            shown = os.preadv(fds[file], [memoryview(buffer)[: count * PAGE]], first * PAGE)
            if shown != count * PAGE:
                sys.exit(f"short read: {shown} of {count * PAGE} at page {first} of f{file}")
            for i in range(count):
                expected = word(file, first + i)
                at = i * PAGE
                if buffer[at : at + 16] != expected or buffer[at + PAGE - 16 : at + PAGE] != expected:
                    sys.exit(f"wrong bytes at page {first + i} of f{file}")
        for fd in fds:
            os.close(fd)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, seed) for seed in range(threads)]:
            try:
                done.result()
            except SystemExit as wrong:
                print(wrong, file=sys.stderr, flush=True)
                os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
