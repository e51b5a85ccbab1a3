"""Random reads and writes of one process: the same to files of a mount and to files of a model.

A process works on files of its own; what it reads from the mount must be what the model has.
"""

import mmap
import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.fossil_fs.posix.calls import KEEP_SIZE, PUNCH_HOLE, STOCK_ENGINE, fallocate

FILES = 3
SIZE_MAX = 1_500_000
_LENGTHS = [1, 7, 512, 4095, 4096, 4097, 20_000, 65_535, 65_536, 65_537, 200_000]
_PAGE = 4096


class Exerciser:
    """One process: `steps` operations with dice of their own."""

    def __init__(self, model: Path, mount: Path, seed: str) -> None:
        self.dice = random.Random(seed)
        self.tops = (model, mount)
        self.name = ""

    def run(self, steps: int) -> None:
        operations: list[tuple[int, Callable[[int, int], None]]] = [
            (6, self.write),
            (4, self.read),
            (2, self.append),
            (2, self.truncate),
            (0 if STOCK_ENGINE else 2, self.punch),
            (2, self.write_mapped),
            (2, self.read_mapped),
            (1, self.fsync),
            (1, self.copy),
            (1, self.write_direct),
            (1, self.rename),
            (1, self.begin_anew),
        ]
        calls = [call for weight, call in operations for _ in range(weight)]
        for _ in range(steps):
            self.name = f"{self.dice.randrange(FILES)}"
            model, mount = (
                os.open(top / self.name, os.O_RDWR | os.O_CREAT, 0o644) for top in self.tops
            )
            try:
                self.dice.choice(calls)(model, mount)
            finally:
                os.close(model)
                os.close(mount)

    def _range(self, limit: int = SIZE_MAX) -> tuple[int, int]:
        """Return an offset and a length, often at the boundaries of blocks."""
        offset = self.dice.randrange(limit)
        if self.dice.random() < 0.4:
            offset -= offset % self.dice.choice([_PAGE, 65_536])
        return offset, self.dice.choice(_LENGTHS)

    def write(self, model: int, mount: int) -> None:
        offset, length = self._range()
        data = self.dice.randbytes(length)
        os.pwrite(model, data, offset)
        assert os.pwrite(mount, data, offset) == length

    def append(self, model: int, mount: int) -> None:
        data = self.dice.randbytes(self.dice.choice(_LENGTHS))
        size = os.fstat(model).st_size
        assert os.fstat(mount).st_size == size
        if size < SIZE_MAX:
            os.pwrite(model, data, size)
            os.lseek(mount, 0, os.SEEK_END)
            os.write(mount, data)

    def read(self, model: int, mount: int) -> None:
        offset, length = self._range()
        assert os.pread(mount, length, offset) == os.pread(model, length, offset), self.name

    def truncate(self, model: int, mount: int) -> None:
        size, _ = self._range(os.fstat(model).st_size * 2 % SIZE_MAX + 1)
        for descriptor in (model, mount):
            os.ftruncate(descriptor, size)

    def punch(self, model: int, mount: int) -> None:
        offset, length = self._range()
        for descriptor in (model, mount):
            fallocate(descriptor, KEEP_SIZE | PUNCH_HOLE, offset, length)

    def write_mapped(self, model: int, mount: int) -> None:
        size = os.fstat(model).st_size
        if size == 0:
            return
        offset, length = self._range(size)
        data = self.dice.randbytes(min(length, size - offset))
        os.pwrite(model, data, offset)
        with mmap.mmap(mount, size) as area:
            area[offset : offset + len(data)] = data
            if self.dice.random() < 0.5:
                area.flush()

    def read_mapped(self, model: int, mount: int) -> None:
        size = os.fstat(model).st_size
        if size == 0:
            return
        offset, length = self._range(size)
        with mmap.mmap(mount, size, access=mmap.ACCESS_READ) as area:
            assert area[offset : offset + length] == os.pread(model, length, offset), self.name

    def fsync(self, model: int, mount: int) -> None:
        self.dice.choice([os.fsync, os.fdatasync])(mount)

    def copy(self, model: int, mount: int) -> None:
        offset, length = self._range()
        to, _ = self._range()
        if offset < to + length and to < offset + length:
            return
        data = os.pread(model, length, offset)
        os.pwrite(model, data, to)
        copied = 0
        while copied < len(data):
            copied += os.copy_file_range(
                mount, mount, len(data) - copied, offset + copied, to + copied
            )

    def write_direct(self, model: int, mount: int) -> None:
        offset, _ = self._range()
        offset -= offset % _PAGE
        length = self.dice.randrange(1, 40) * _PAGE
        with mmap.mmap(-1, length) as area:
            area[:] = self.dice.randbytes(length)
            os.pwrite(model, area[:], offset)
            direct = os.open(self.tops[1] / self.name, os.O_RDWR | os.O_DIRECT)
            assert os.pwritev(direct, [area], offset) == length
            os.close(direct)

    def rename(self, model: int, mount: int) -> None:
        other = f"{self.dice.randrange(FILES)}"
        for top in self.tops:
            os.rename(top / self.name, top / other)

    def begin_anew(self, model: int, mount: int) -> None:
        """Remove the name; the open file goes on, then a new one takes its place."""
        for top, descriptor in zip(self.tops, (model, mount), strict=True):
            os.unlink(top / self.name)
            os.pwrite(descriptor, b"unseen", 70_000)
            assert os.pread(descriptor, 6, 70_000) == b"unseen"
            (top / self.name).write_bytes(b"new")


def start(model: Path, mount: Path, seed: str, steps: int) -> int:
    """Begin a process that exercises; return its number. It ends with status 0 if all was right."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            Exerciser(model, mount, seed).run(steps)
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    return child
