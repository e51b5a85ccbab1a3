"""What pyfuse3's loop uses of trio, with fewer trips through trio's scheduler.

The loop's tasks take turns at the descriptor under a lock. As pyfuse3 has it each request costs a
checkpoint for the lock, one for the descriptor and a walk through libfuse. Here whoever has the lock
answers requests by the dozen, as long as they come and their handlers need not wait. A handler that
waits is left to pyfuse3, which awaits the rest of it, and another task takes its turn. After `TURN`
requests a true checkpoint lets other tasks run. Where no request is to be seen for a while, the task
waits in trio, where an idle mount costs nothing.
"""

from collections.abc import Callable, Coroutine, Generator
from types import TracebackType, coroutine
from typing import Any

import trio

from lib9.fuse.looking import Lookout

TURN = 64  # requests answered before others get the loop

Serve = Callable[[int, int, int], bool]


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


@coroutine
def going_on(
    handler: Coroutine[Any, Any, None], said: object, failed: Callable[[Exception], None]
) -> Generator[object, object, None]:
    """Await the rest of a handler that was begun and has yielded `said` to the scheduler.

    `failed` is told what it raises.
    """
    try:
        while True:
            try:
                sent = yield said
            except BaseException as error:  # noqa: BLE001 it is the handler's to take
                said = handler.throw(error)
            else:
                said = handler.send(sent)
    except StopIteration:
        return
    except Exception as error:  # noqa: BLE001 a handler must not end the daemon
        failed(error)


class _Lowlevel:
    """trio.lowlevel, with a wait_readable that first answers what is there."""

    def __init__(self, serve: Serve, lookout: Lookout) -> None:
        self._serve = serve
        self._lookout = lookout

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)

    async def wait_readable(self, descriptor: int) -> None:
        while not self._serve(TURN, *self._lookout.waiting):
            await trio.lowlevel.wait_readable(descriptor)


class LoopTrio:
    """Stands for the module `trio` in pyfuse3; `serve` is the shim's."""

    Lock = TurnLock

    def __init__(self, serve: Serve, lookout: Lookout) -> None:
        self.lowlevel = _Lowlevel(serve, lookout)

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)
