"""One colour of function: `async` code that runs with and without trio.

A store on this machine's disk answers without waiting, so its async functions never suspend and a
program without an event loop can call them through `run_now`. What must wait for a thread does so
through `in_thread`: in a trio task it lets other tasks run, without trio it simply blocks.
"""

import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Wait(Protocol):
    """Runs a coroutine to its end and returns its result: `run_now`, or what `in_loop` gives."""

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T: ...


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends and return its result; RuntimeError if it would wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} waits: it needs an event loop")


def in_trio() -> bool:
    """Tell whether the caller runs inside a trio task."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


async def in_thread(function: Callable[[], T]) -> T:
    """Return `function()`, which may block: in a worker thread when in trio, else right here."""
    if not in_trio():
        return function()
    import trio

    return await trio.to_thread.run_sync(function)


async def checkpoint() -> None:
    """Let other tasks run, in a trio task; without trio, nothing."""
    if in_trio():
        import trio

        await trio.lowlevel.checkpoint()


def in_loop() -> Wait:
    """Return what a thread may call to run a coroutine in this trio loop and get its result.

    The counterpart of `run_now` for threads that work beside a loop; called from a task of it.
    """
    import trio

    token = trio.lowlevel.current_trio_token()

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        async def resume() -> T:
            return await coroutine

        return trio.from_thread.run(resume, trio_token=token)

    return run
