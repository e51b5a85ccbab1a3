"""How much memory the clients of a server may fill: a part of their own each, and one in common.

Half of the memory is divided into parts of `SHARE_MIN`, one for each client there may be; from the
other half a client may take more, up to `SHARE_MAX`. So the sum never exceeds the whole, however
many clients come and whatever the others hold.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from venti_store.kind import BLOCK_SIZE_MAX

SHARE_MIN: Final = 2 * (BLOCK_SIZE_MAX + (64 << 10))  # the largest request beside the largest reply
SHARE_MAX: Final = 16 << 20  # eight blocks of the largest size being read, as many being sent


class Pool:
    """The memory of a server."""

    def __init__(self, memory_bytes_max: int) -> None:
        self.clients_max = max(1, memory_bytes_max // 2 // SHARE_MIN)
        self.left = memory_bytes_max - self.clients_max * SHARE_MIN  # of the common part
        self.waiting: dict[Room, None] = {}  # in the order they began to wait

    def grant(self) -> None:
        """Serve those who wait for a part of what is common."""
        for room in tuple(self.waiting):
            room.grant()


class Room:
    """What one client has of a pool. Who waits for room is served in order."""

    def __init__(self, pool: Pool) -> None:
        self.held = 0  # bytes
        self._pool = pool
        self._queue: deque[tuple[int, trio.Event]] = deque()

    def fits(self, size: int) -> bool:
        """Tell whether `size` more bytes would fit now. With nothing held there is always room."""
        wanted = self.held + size
        if wanted <= SHARE_MIN or not self.held:
            return True
        return wanted <= SHARE_MAX and _over(wanted) - _over(self.held) <= self._pool.left

    async def take(self, size: int) -> None:
        """Wait for room for `size` bytes, at most SHARE_MIN, and take it."""
        if not self._queue and self.fits(size):
            self.add(size)
            return
        place = (size, trio.Event())
        self._queue.append(place)
        self._pool.waiting[self] = None
        try:
            await place[1].wait()
        except trio.Cancelled:
            if place[1].is_set():
                self.let_go(size)
            else:
                self._queue.remove(place)
                self.grant()
            raise

    def add(self, size: int) -> None:
        """Take `size` bytes without asking: for what replaces what was taken before."""
        over = _over(self.held)
        self.held += size
        self._pool.left -= _over(self.held) - over

    def let_go(self, size: int) -> None:
        """Give `size` bytes back."""
        over = _over(self.held)
        self.held -= size
        freed = over - _over(self.held)
        self._pool.left += freed
        self.grant()
        if freed:
            self._pool.grant()

    def grant(self) -> None:
        """Serve those who wait, as far as there is room."""
        while self._queue and self.fits(self._queue[0][0]):
            size, granted = self._queue.popleft()
            self.add(size)
            granted.set()
        if not self._queue:
            self._pool.waiting.pop(self, None)


def _over(held: int) -> int:
    return max(0, held - SHARE_MIN)
