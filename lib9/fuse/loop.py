"""What pyfuse3's loop uses of trio, with fewer trips through trio's scheduler.

The loop's tasks take turns at the descriptor under a lock. As pyfuse3 has it each request costs a
checkpoint for the lock and one for the descriptor. Here a task that answered a request without waiting
goes on with the next one at once: the lock is taken without a checkpoint, and the next request is looked
for a while before trio waits for it. Every `_TURN` requests a true checkpoint lets other tasks run.
Nothing here blocks: a task that sees no request waits in trio, where an idle mount costs nothing.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

import trio

_TURN = 16
SPINS = 60  # looks at an empty queue, about 0.3 us each: the time a busy client needs to ask again


class TurnLock:
    """A lock that costs no checkpoint while it is free.

    Who waits for it is woken when it is given back, and looks again: by then whoever gave it back may
    hold it once more, if it answered a request without waiting.
    """

    def __init__(self) -> None:
        self._taken = False
        self._parked = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        while self._taken:
            await self._parked.park()
        self._taken = True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._taken = False
        self._parked.unpark()


class _Lowlevel:
    """trio.lowlevel, with a wait_readable that first looks for itself."""

    def __init__(self, fill: Callable[[int], bool], spins: int) -> None:
        self._fill = fill
        self._spins = spins
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)

    async def wait_readable(self, descriptor: int) -> None:
        self._count += 1
        if self._count % _TURN and self._fill(self._spins):
            return
        await trio.lowlevel.wait_readable(descriptor)


class LoopTrio:
    """Stands for the module `trio` in pyfuse3; `fill(n)` looks n times for a request."""

    Lock = TurnLock

    def __init__(self, fill: Callable[[int], bool], spins: int = SPINS) -> None:
        self.lowlevel = _Lowlevel(fill, spins)

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)
