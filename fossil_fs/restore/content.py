"""A file's bytes from its tree, written where they are not zero: holes come back as holes."""

import os
from collections.abc import AsyncIterator, Sequence
from typing import Final

from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.read import fetch_pointers, read_blocks
from venti_store.hashtree.shape import fan_out
from venti_store.interfaces import BlockReader
from venti_store.score import Score

AT_ONCE_BYTES: Final = 4 << 20
_VECTOR_MAX: Final = 1024  # buffers in one pwritev(2)


async def copy_content(store: BlockReader, content: Entry, fd: int) -> None:
    """Write what `content` holds into the empty file `fd`. Raises as the store does, and OSError."""
    cache = PointerCache()
    step = max(AT_ONCE_BYTES // content.dsize, 1)
    async for start, end in _runs(store, content, cache):
        for first in range(start, end, step):
            blocks = await read_blocks(store, content, first, min(step, end - first), cache)
            _write(fd, first * content.dsize, content.dsize, blocks)
    os.ftruncate(fd, content.size)


async def _runs(
    store: BlockReader, content: Entry, cache: PointerCache
) -> AsyncIterator[tuple[int, int]]:
    """Give the leaves that are below pointer blocks, (first, end), ascending: holes cost nothing."""
    fan = fan_out(content.psize, store.family.size)
    todo = [(content.score, content.depth, 0)]
    while todo:
        score, level, first = todo.pop()
        if first >= content.leaves or store.family.is_nothing(score):
            continue
        if level <= 1:
            yield first, min(first + fan**level, content.leaves)
            continue
        (block,) = await fetch_pointers(store, [Score(score)], level, content.psize, cache)
        below = fan ** (level - 1)
        size = store.family.size
        count = min(len(block) // size, fan)
        todo += [
            (Score(block[n * size : (n + 1) * size]), level - 1, first + n * below)
            for n in reversed(range(count))
        ]


def write_small(fd: int, block: bytes, size: int) -> None:
    """Write a file of one block, given zero-truncated."""
    _write_at(fd, [block[:size]], 0)
    if len(block) < size:
        os.ftruncate(fd, size)


def _write(fd: int, offset: int, dsize: int, blocks: Sequence[bytes]) -> None:
    """Write zero-truncated blocks; whole ones next to each other in one call."""
    run: list[bytes] = []
    start = offset
    for block in blocks:
        if block:
            run.append(block)
        if run and (len(block) < dsize or len(run) == _VECTOR_MAX):
            _write_at(fd, run, start)
            run = []
        offset += dsize
        if not run:
            start = offset
    if run:
        _write_at(fd, run, start)


def _write_at(fd: int, blocks: list[bytes], offset: int) -> None:
    if not blocks:
        return
    size = sum(map(len, blocks))
    written = os.pwritev(fd, blocks, offset)
    if written < size:
        rest = b"".join(blocks)
        while written < size:
            written += os.pwrite(fd, rest[written:], offset + written)
