"""On which processors the threads of this process run.

A thread that binds itself hands its binding on to the threads that it begins: their work starts with
`run_anywhere`, which costs nothing where no thread was ever bound.
"""

import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_all: frozenset[int] | None = None  # that the process may use; None: no thread was ever bound


def bind(processor: int) -> bool:
    """Let the calling thread run on one processor only; tell whether that was possible."""
    global _all  # noqa: PLW0603 one fact for the whole process
    if _all is None:
        _all = frozenset(os.sched_getaffinity(0))
    return processor in _all and _set({processor})


def run_anywhere() -> None:
    """Let the calling thread run wherever the process may."""
    if _all is not None:
        _set(_all)


def anywhere(function: Callable[[], T]) -> Callable[[], T]:
    """Return `function` for another thread to call, which may have inherited a binding."""

    def run() -> T:
        run_anywhere()
        return function()

    return function if _all is None else run


def _set(processors: frozenset[int] | set[int]) -> bool:
    try:
        os.sched_setaffinity(0, processors)
    except OSError:  # the process was moved to other processors
        return False
    return True
