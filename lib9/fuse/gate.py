"""A gate before everything that changes the file system: while it is closed, changes wait.

Reads, and what is on inodes of `MountOptions.own_inodes`, pass always. Who waits can be interrupted
(shim only). Nothing is dropped: what waited goes on when the gate opens, or when the mount ends.
"""

import trio


class Gate:
    """`inside`: changes that were let through and are not yet answered."""

    def __init__(self) -> None:
        self.closed = False
        self.inside = 0
        self.waiting = 0
        self._opened = trio.Event()
        self._empty = trio.Event()

    async def close(self) -> None:
        """Let no further change in, and return when those inside are done. Harmless when repeated."""
        if not self.closed:
            self.closed = True
            self._opened = trio.Event()
        self._empty = trio.Event()
        if self.inside:
            await self._empty.wait()

    def open(self) -> None:
        """Let in what waits, and all that comes."""
        self.closed = False
        self._opened.set()

    async def wait(self) -> None:
        """Return when the gate is open."""
        self.waiting += 1
        try:
            while self.closed:
                await self._opened.wait()
        finally:
            self.waiting -= 1

    def left(self) -> None:
        """A change is done, and `inside` counts it no more."""
        if self.closed and not self.inside:
            self._empty.set()
