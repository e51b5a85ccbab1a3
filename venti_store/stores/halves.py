"""Work on many blocks by two threads: this one and a helper, each with half of the bytes."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

SPLIT_BYTES_MIN = 256 << 10  # below, waking the helper costs more than it saves

T = TypeVar("T")
R = TypeVar("R")

_helpers: list[ThreadPoolExecutor] = []  # one, from first use on; a forked child has none
_free = threading.Lock()


def map_halves(
    function: Callable[[T], R], items: Sequence[T], size_of: Callable[[T], int], costly_bytes: int
) -> list[R]:
    """Return `function` of each item; in two threads if `costly_bytes` of them make it worth it.

    `function` must release the GIL for its work. Of several errors that of the first item is raised;
    when this returns or raises, the helper has let go of the items.
    """
    if costly_bytes < SPLIT_BYTES_MIN or len(items) < 2 or (os.cpu_count() or 1) < 2:
        return [function(item) for item in items]
    if not _free.acquire(blocking=False):  # helping another thread: then both cores are at work
        return [function(item) for item in items]
    try:
        return _in_two(function, items, size_of)
    finally:
        _free.release()


def _in_two(function: Callable[[T], R], items: Sequence[T], size_of: Callable[[T], int]) -> list[R]:
    half, middle = sum(map(size_of, items)) // 2, 0
    while half > 0:
        half -= size_of(items[middle])
        middle += 1
    later = _helper().submit(lambda: [function(item) for item in items[middle:]])
    try:
        first = [function(item) for item in items[:middle]]
    finally:
        error = later.exception()
    if error is not None:
        raise error
    return first + later.result()


def _helper() -> ThreadPoolExecutor:
    if not _helpers:
        _helpers.append(ThreadPoolExecutor(1, "venti-half"))
    return _helpers[0]


def _after_fork() -> None:
    global _free  # noqa: PLW0603  the parent's helper may have been at work
    _free = threading.Lock()
    _helpers.clear()


os.register_at_fork(after_in_child=_after_fork)
