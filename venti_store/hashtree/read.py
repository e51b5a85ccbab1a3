"""Reading a tree: from a range of a stream to the keys of its leaves, and to its bytes.

The way down is taken for all leaves of a range at once: the pointer blocks of one level are one
`get_many`. Every block is checked to fit the entry that led to it; the store has checked its score.
"""

from collections.abc import Sequence
from typing import cast

from venti_store.errors import BadTree
from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.shape import fan_out
from venti_store.interfaces import BlockReader, Key
from venti_store.kind import pointer
from venti_store.score import Score


async def read(
    store: BlockReader, entry: Entry, offset: int, length: int, cache: PointerCache | None = None
) -> bytes:
    """Return `length` bytes from `offset` on, fewer where the stream ends.

    All of it is in memory at once: ask for ranges of bounded length. Raises as the store does, and
    BadTree.
    """
    end = min(offset + length, entry.size)
    if offset >= end:
        return b""
    dsize = entry.dsize
    first = offset // dsize
    blocks = await read_blocks(store, entry, first, (end - 1) // dsize - first + 1, cache)
    start = first * dsize
    if len(blocks) == 1:
        piece = blocks[0][offset - start : end - start]
        return piece if len(piece) == end - offset else piece + bytes(end - offset - len(piece))
    last = len(blocks) - 1
    for number, block in enumerate(blocks):
        if number == last:
            blocks[number] = block[: end - start - last * dsize]
        elif len(block) < dsize:
            blocks[number] = block + bytes(dsize - len(block))
    if offset > start:
        blocks[0] = blocks[0][offset - start :]
    data = b"".join(blocks)
    return data if len(data) == end - offset else data + bytes(end - offset - len(data))


async def read_blocks(
    store: BlockReader, entry: Entry, first: int, count: int, cache: PointerCache | None = None
) -> list[bytes]:
    """Return the leaves `first` and following as stored: zero-truncated, of zeros b"".

    Leaves beyond the end of the stream are b"" too.
    """
    keys = await leaf_keys(store, entry, first, count, cache)
    wanted = [key for key in keys if key is not None]
    blocks = await store.get_many(wanted) if wanted else []
    dsize = entry.dsize
    for key, block in zip(wanted, blocks, strict=True):
        if len(block) > dsize:
            raise BadTree(f"{key.score.hex()}: leaf of {len(block)} bytes, at most {dsize} fit")
    if len(wanted) == len(keys):
        return blocks
    rest = iter(blocks)
    return [b"" if key is None else next(rest) for key in keys]


async def leaf_keys(
    store: BlockReader, entry: Entry, first: int, count: int, cache: PointerCache | None = None
) -> list[Key | None]:
    """Return the keys of `count` leaves from number `first` on; None for leaves of zeros.

    Leaves beyond the end of the stream are None too. BadTree for pointer blocks that do not fit.
    """
    end = min(first + count, entry.leaves)
    if first >= end:
        return [None] * count
    family, kind = store.family, entry.kind
    empty = (family.nothing, bytes(family.size))
    scores = [entry.score]
    if entry.depth:
        scores = await _descend(store, entry, first, end, cache)
    keys = [Key(s, kind) if s not in empty else None for s in scores]
    return keys if end == first + count else keys + [None] * (first + count - end)


async def _descend(
    store: BlockReader, entry: Entry, first: int, end: int, cache: PointerCache | None
) -> list[Score]:
    """Return the scores of the leaves `first` to `end`, which lie inside the stream."""
    size, nothing = store.family.size, store.family.nothing
    fan = fan_out(entry.psize, size)
    scores = [entry.score]
    base = 0  # number of the first of `scores` in its level
    for level in range(entry.depth, 0, -1):
        below = fan ** (level - 1)  # leaves under one child
        low, high = first // below, (end - 1) // below + 1  # the children wanted
        blocks = await fetch_pointers(store, scores, level, entry.psize, cache)
        children: list[bytes] = []
        for number, block in enumerate(blocks, base):
            start = max(low - number * fan, 0)
            stop = min(high - number * fan, fan)
            held = min(len(block) // size, stop)
            children += [block[at : at + size] for at in range(start * size, held * size, size)]
            if held < stop:
                children += [nothing] * (stop - max(held, start))
        scores, base = cast("list[Score]", children), low
    return scores


async def fetch_pointers(
    store: BlockReader,
    scores: Sequence[Score],
    level: int,
    psize: int,
    cache: PointerCache | None = None,
) -> list[bytes]:
    """Return the pointer blocks of one level, b"" for no block; BadTree when longer than `psize`."""
    blocks: list[bytes | None] = (
        [cache.get(score) for score in scores] if cache is not None else [None] * len(scores)
    )
    missing = [n for n, block in enumerate(blocks) if block is None]
    if missing:
        kind, is_nothing = pointer(level), store.family.is_nothing
        asked = [n for n in missing if not is_nothing(scores[n])]
        for number in missing:
            blocks[number] = b""
        fetched = await store.get_many([Key(scores[n], kind) for n in asked]) if asked else []
        for number, block in zip(asked, fetched, strict=True):
            if len(block) > psize:
                score = scores[number].hex()
                raise BadTree(f"{score}: pointer block of {len(block)} bytes, at most {psize} fit")
            if cache is not None:
                cache.put(scores[number], block)
            blocks[number] = block
    return cast("list[bytes]", blocks)
