"""Sparse files: the changed bytes of one file each. What is data and not a hole in them was changed.

A page (4 KiB) of a layer is *present* if any of it is data; then all of its bytes are those of the
sparse file. No other map is kept, and none can be lost: SEEK_DATA is the map. A page is completed
from older content in the same write(2) that makes it present, so a kill leaves it old or new.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from fossil_fs.scratch.holes import KEEP_SIZE, PUNCH_HOLE, fallocate, present
from fossil_fs.scratch.remover import Remover

DESCRIPTORS_MAX: Final = 1024  # open at once; the limit of a process may be as low as 20,000

Buffer = bytes | bytearray | memoryview


class DataFiles:
    """The layers in one directory, by number."""

    def __init__(self, directory: bytes) -> None:
        self._directory = directory
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._descriptors: OrderedDict[int, int] = OrderedDict()
        self._sizes: dict[int, int] = {}  # bytes on disk of each layer
        self._unsynced: set[int] = set()
        self._condemned: list[int] = []
        self._remover = Remover()
        self._allocated = 0
        for name in os.listdir(directory):
            self._account(int(name), os.stat(self._path(int(name))).st_blocks)

    def numbers(self) -> list[int]:
        return list(self._sizes)

    def _path(self, number: int) -> bytes:
        return os.path.join(self._directory, b"%d" % number)

    def _account(self, number: int, blocks: int) -> None:
        self._allocated += blocks * 512 - self._sizes.get(number, 0)
        self._sizes[number] = blocks * 512

    def descriptor(self, number: int) -> int:
        """Return a descriptor of the layer, which is made if it does not exist."""
        descriptor = self._descriptors.get(number)
        if descriptor is not None:
            self._descriptors.move_to_end(number)
            return descriptor
        while len(self._descriptors) >= DESCRIPTORS_MAX:
            os.close(self._descriptors.popitem(last=False)[1])
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = self._descriptors[number] = os.open(self._path(number), flags, 0o600)
        self._sizes.setdefault(number, 0)
        return descriptor

    def write(self, number: int, offset: int, *parts: Buffer) -> None:
        """Write all of `parts` one after the other; OSError leaves no more than some pages of it."""
        descriptor = self.descriptor(number)
        self._unsynced.add(number)
        size = sum(map(len, parts))
        try:
            written = os.pwritev(descriptor, parts, offset)
            if written < size:  # the disk is full, or nearly: the rest says so
                rest = b"".join(parts)
                while written < size:
                    written += os.pwrite(descriptor, memoryview(rest)[written:], offset + written)
        finally:
            self._account(number, os.fstat(descriptor).st_blocks)

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Return `size` bytes; zeros beyond the sparse file's end."""
        data = os.pread(self.descriptor(number), size, offset)
        return data if len(data) == size else data + bytes(size - len(data))

    def allocated_of(self, number: int) -> int:
        """Return the bytes that a layer takes on disk."""
        return self._sizes.get(number, 0)

    def allocated_or_none(self, number: int) -> int | None:
        """As `allocated_of`; None where there is no such layer."""
        return self._sizes.get(number)

    def compare(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the bytes of each layer as they are counted, and as they are on disk.

        Those that are being removed are in neither.
        """
        self._remover.wait()
        taken = {}
        for name in os.listdir(self._directory):
            with suppress(FileNotFoundError):
                taken[int(name)] = os.stat(self._path(int(name))).st_blocks * 512
        return dict(self._sizes), taken

    def length(self, number: int) -> int:
        """Return the sparse file's length; it may be less than what is visible of it."""
        return os.fstat(self.descriptor(number)).st_size

    def truncate(self, number: int, size: int) -> None:
        descriptor = self.descriptor(number)
        self._unsynced.add(number)
        os.ftruncate(descriptor, size)
        self._account(number, os.fstat(descriptor).st_blocks)

    def punch(self, number: int, offset: int, length: int) -> None:
        """Free the pages of a range, which reads as zeros then."""
        self._fallocate(number, KEEP_SIZE | PUNCH_HOLE, offset, length)

    def reserve(self, number: int, offset: int, length: int) -> None:
        """Take disk space for a range without making any of it data."""
        self._fallocate(number, KEEP_SIZE, offset, length)

    def _fallocate(self, number: int, mode: int, offset: int, length: int) -> None:
        descriptor = self.descriptor(number)
        self._unsynced.add(number)
        fallocate(descriptor, mode, offset, length)
        self._account(number, os.fstat(descriptor).st_blocks)

    def present(self, number: int, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Give the ranges of present pages that overlap [start, end), merged, cut to it."""
        return present(self.descriptor(number), start, end)

    def sync(self, numbers: Iterable[int]) -> None:
        """Put the bytes of these layers on stable storage; may be called from a worker thread."""
        for number in numbers:
            if number not in self._unsynced:
                continue
            self._unsynced.discard(number)
            try:
                # a descriptor of its own: the loop may close the shared one meanwhile
                descriptor = os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # dropped meanwhile
            try:
                os.fsync(descriptor)
            except OSError:
                self._unsynced.add(number)
                raise
            finally:
                os.close(descriptor)

    def unsynced(self) -> list[int]:
        return list(self._unsynced)

    def condemn(self, numbers: Iterable[int]) -> None:
        """Drop these layers once the metadata that does without them is on stable storage."""
        self._condemned += numbers

    def has_condemned(self) -> bool:
        return bool(self._condemned)

    def drop_condemned(self, keep_below: int = 0) -> None:
        """Remove condemned layers, but for those numbered below `keep_below`: a save reads them.

        Their space counts until it is free: `allocated` falls as the remover gets on.
        """
        kept = []
        for number in self._condemned:
            if number < keep_below:
                kept.append(number)
            else:
                self._drop(number)
        self._condemned = kept

    def _drop(self, number: int) -> None:
        descriptor = self._descriptors.pop(number, None)
        if descriptor is not None:
            os.close(descriptor)
        size = self._sizes.pop(number, None)
        if size is not None:
            self._remover.remove(self._path(number), size)
        self._unsynced.discard(number)

    @property
    def allocated(self) -> int:
        """The bytes that all layers take on disk, those that are being removed too."""
        self._allocated -= self._remover.freed()
        return self._allocated

    def wait_for_space(self) -> bool:
        """Wait until all layers that were dropped are gone; tell whether that freed anything."""
        before = self.allocated
        self._remover.wait()
        return self.allocated < before

    def close(self) -> None:
        self._remover.close()
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
