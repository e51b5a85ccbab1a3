"""A file's bytes from its tree, written where they are not zero: holes come back as holes."""

import os
from collections.abc import Sequence
from typing import Final

from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.read import read_blocks
from venti_store.interfaces import BlockReader

AT_ONCE_BYTES: Final = 4 << 20
_VECTOR_MAX: Final = 1024  # buffers in one pwritev(2)


async def copy_content(store: BlockReader, content: Entry, fd: int) -> None:
    """Write what `content` holds into the empty file `fd`. Raises as the store does, and OSError."""
    cache = PointerCache()
    step = max(AT_ONCE_BYTES // content.dsize, 1)
    for first in range(0, content.leaves, step):
        blocks = await read_blocks(store, content, first, step, cache)
        _write(fd, first * content.dsize, content.dsize, blocks)
    os.ftruncate(fd, content.size)


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
