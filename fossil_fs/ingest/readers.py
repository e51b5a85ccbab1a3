"""Who reads files while the scan goes on: threads of this process, or processes of their own."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from fossil_fs.ingest.feed import Fed, Sink, Way
from fossil_fs.ingest.files import Chunk, read_chunk
from fossil_fs.ingest.scan import Found

CHUNK_FILES: Final = 64
CHUNK_BYTES: Final = 4 << 20  # or so: one file of any size is read by one reader
WAITING_PER_READER: Final = 16  # chunks; bounds the directories held open


class OpenDirectory:
    """A directory's descriptor, closed when the last of its users has released it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._users = 1
        self._lock = threading.Lock()

    def share(self) -> "OpenDirectory":
        """Count one more user."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """Count one user less."""
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            os.close(self.fd)


class Readers(Protocol):
    """Reads files of open directories into nodes and stores their blocks."""

    def submit(
        self, directory: OpenDirectory, path: bytes, found: Sequence[Found]
    ) -> list["Future[Chunk]"]:
        """Have files read, in chunks; may wait for room. The results may come in any order."""
        ...

    def sync(self) -> Fed:
        """Return, when all was read, what was stored by other processes; it is on stable storage.

        Blocks that went the way of this process are passed on, and synced by its owner.
        """
        ...

    def close(self) -> None:
        """End; forget what was not yet read."""
        ...


class ThreadReaders:
    """Readers in this process; with no threads, files are read when they are submitted."""

    def __init__(self, way: Way, dsize: int, threads: int) -> None:
        self._way = way
        self._dsize = dsize
        self._mine = threading.local()
        self._sinks: list[Sink] = []
        self._pool = ThreadPoolExecutor(threads, "read") if threads else None
        self._room = threading.BoundedSemaphore(max(threads, 1) * WAITING_PER_READER)

    def submit(
        self, directory: OpenDirectory, path: bytes, found: Sequence[Found]
    ) -> list["Future[Chunk]"]:
        return [self._start(directory, path, part) for part in chunks(found)]

    def sync(self) -> Fed:
        for sink in self._sinks:
            sink.flush()
        return Fed()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _start(
        self, directory: OpenDirectory, path: bytes, part: Sequence[Found]
    ) -> "Future[Chunk]":
        directory.share()
        self._room.acquire()
        if self._pool is not None:
            return self._pool.submit(self._read, directory, path, part)
        done: Future[Chunk] = Future()
        done.set_result(self._read(directory, path, part))
        return done

    def _read(self, directory: OpenDirectory, path: bytes, part: Sequence[Found]) -> Chunk:
        try:
            names = [found.name for found in part]
            return read_chunk(self._sink(), directory.fd, path, names, self._dsize)
        finally:
            directory.release()
            self._room.release()

    def _sink(self) -> Sink:
        sink: Sink | None = getattr(self._mine, "sink", None)
        if sink is None:
            sink = self._mine.sink = Sink(self._way)
            self._sinks.append(sink)
        return sink


def chunks(found: Sequence[Found]) -> list[Sequence[Found]]:
    """Divide the files of a directory into what one reader takes at once."""
    parts, start, size = [], 0, 0
    for end, item in enumerate(found, 1):
        size += item.stat.st_size
        if size >= CHUNK_BYTES or end - start >= CHUNK_FILES:
            parts.append(found[start:end])
            start, size = end, 0
    if start < len(found):
        parts.append(found[start:])
    return parts
