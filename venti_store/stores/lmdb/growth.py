"""Waiting for entries of the log that this process or any other appends.

Who has committed touches the store's file, of which the kernel tells (inotify(7)): nobody polls.
The writes of the commit itself would come too early, before its number is in the shared lock file.
Where the kernel has no watch left to give, waiters look again every POLL_SECONDS.
"""

from __future__ import annotations

import os
from typing import Final

from venti_store.stores.lmdb.place import DATA_FILE

POLL_SECONDS: Final = 0.25
_IN_ATTRIB: Final = 4
_EVENTS_SIZE: Final = 64 << 10  # bytes of events read at once; what they say does not matter


class Growth:
    """A watch on one store's file. Any number of tasks may wait; one of them reads for all."""

    def __init__(self, path: str) -> None:
        from trio.lowlevel import ParkingLot  # programs without an event loop do not wait

        self._descriptor = _watch(os.path.join(path, DATA_FILE))
        self._reading = False
        self._others = ParkingLot()

    async def wait(self) -> None:
        """Return when there may have been a commit since the last look at the log.

        Look first, then wait, in a task that does not suspend between: nothing is missed then.
        """
        import trio

        if self._descriptor is None:
            await trio.sleep(POLL_SECONDS)
            return
        if self._reading:
            await self._others.park()
            return
        self._reading = True
        try:
            await trio.lowlevel.wait_readable(self._descriptor)
            os.read(self._descriptor, _EVENTS_SIZE)
        finally:
            self._reading = False
            self._others.unpark_all()  # whoever waits again first reads next

    def close(self) -> None:
        """Let go of the watch; nobody may wait any more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def tell(path: str) -> None:
    """Wake those who wait, in all processes: there was a commit to the store at `path`."""
    os.utime(os.path.join(path, DATA_FILE))


def _watch(file: str) -> int | None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        return None
    if libc.inotify_add_watch(descriptor, os.fsencode(file), _IN_ATTRIB) < 0:
        os.close(descriptor)
        return None
    return descriptor
