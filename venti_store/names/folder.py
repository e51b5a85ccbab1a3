"""Where the files of a store's names are kept: beside the store, or in memory for tests."""

import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Protocol

from lib9.waiting import in_thread, in_trio
from venti_store.names.errors import NamesBusy

LOCK: Final = "names.lock"
LOCK_SECONDS_MAX: Final = (
    60.0  # for others: who holds it appends, or reads a whole log of names once
)
_POLL_SECONDS: Final = 0.005

Signature = tuple[int, ...]


class Folder(Protocol):
    """A few files that only one process at a time changes, and anyone reads at any time."""

    def locked(self) -> AbstractAsyncContextManager[None]:
        """Keep other tasks and processes from changing anything; NamesBusy after a minute."""
        ...

    def signature(self, name: str) -> Signature:
        """Return something that differs when the file does; () if there is none."""
        ...

    def read(self, name: str) -> bytes:
        """Return the bytes of a file; b"" if there is none."""
        ...

    async def append(self, name: str, data: bytes) -> None:
        """Add bytes to a file; on stable storage at return."""
        ...

    async def replace(self, name: str, data: bytes) -> None:
        """Let a file have these bytes, at once for every reader; on stable storage at return."""
        ...


class DiskFolder:
    """A Folder on a local disk."""

    def __init__(self, path: str) -> None:
        self.path = path

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        descriptor = os.open(self._of(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await _lock(descriptor, self.path)
            yield
        finally:
            os.close(descriptor)

    def signature(self, name: str) -> Signature:
        try:
            status = os.stat(self._of(name))
        except FileNotFoundError:
            return ()
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def read(self, name: str) -> bytes:
        try:
            with open(self._of(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    async def append(self, name: str, data: bytes) -> None:
        await in_thread(lambda: self._write(self._of(name), os.O_APPEND, data))

    async def replace(self, name: str, data: bytes) -> None:
        def write() -> None:
            new = self._of(name) + ".new"
            with suppress(FileNotFoundError):
                os.unlink(new)  # of a process that was killed; we have the lock
            self._write(new, os.O_EXCL, data)
            os.rename(new, self._of(name))
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

        await in_thread(write)

    def _of(self, name: str) -> str:
        return os.path.join(self.path, name)

    @staticmethod
    def _write(path: str, how: int, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o644)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class MemoryFolder:
    """A Folder in memory, for one event loop or none."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._changes = 0
        self._signatures: dict[str, Signature] = {}
        self._held = False

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        while self._held:
            await _pause(_POLL_SECONDS)
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def signature(self, name: str) -> Signature:
        return self._signatures.get(name, ())

    def read(self, name: str) -> bytes:
        return self.files.get(name, b"")

    async def append(self, name: str, data: bytes) -> None:
        await self.replace(name, self.read(name) + data)

    async def replace(self, name: str, data: bytes) -> None:
        self.files[name] = data
        self._changes += 1
        self._signatures[name] = (self._changes,)


async def _lock(descriptor: int, path: str) -> None:
    deadline = time.monotonic() + LOCK_SECONDS_MAX
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise NamesBusy(f"{path}: names are locked by another process") from None
            await _pause(_POLL_SECONDS)
        else:
            return


async def _pause(seconds: float) -> None:
    # not in a thread: those who wait would take all threads, and who holds the lock needs one
    if in_trio():
        import trio

        await trio.sleep(seconds)
    else:
        time.sleep(seconds)  # noqa: ASYNC251  no event loop is there to be held up
