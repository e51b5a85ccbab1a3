"""Directory streams as what they hold: numbered slots, each with an entry or unused."""

from collections.abc import Iterator

from venti_store.errors import BadTree
from venti_store.hashtree import shape
from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry, entry_size, unpack_entry
from venti_store.hashtree.read import leaf_keys, read_blocks
from venti_store.interfaces import BlockReader
from venti_store.score import Buffer, Family


def slot_count(family: Family, entry: Entry) -> int:
    """Return how many slots a directory stream has."""
    return shape.slot_count(entry.size, entry.dsize, entry_size(family))


def unpack_leaf(family: Family, block: Buffer, dsize: int) -> Iterator[Entry | None]:
    """Give the entries of a directory leaf, truncated or not; unused slots at its end may be left out.

    BadTree for a leaf that is longer than `dsize`, and for entries that make no sense.
    """
    if len(block) > dsize:
        raise BadTree(f"directory leaf of {len(block)} bytes, at most {dsize} fit")
    size = entry_size(family)
    end = min(len(block), shape.slots_per_leaf(dsize, size) * size)
    for at in range(0, end, size):
        yield unpack_entry(family, block[at : min(at + size, end)])


async def read_slots(
    store: BlockReader, entry: Entry, first: int, count: int, cache: PointerCache | None = None
) -> list[Entry | None]:
    """Return the slots `first` and following, `count` of them or as many as there are.

    None is an unused slot. BadTree if `entry` is no directory, and as `unpack_leaf`.
    """
    if not entry.directory:
        raise BadTree(f"{entry.score.hex()}: not a directory")
    family, dsize = store.family, entry.dsize
    end = min(first + count, slot_count(family, entry))
    if first >= end:
        return []
    per_leaf = shape.slots_per_leaf(dsize, entry_size(family))
    leaf = first // per_leaf
    if end == first + 1:
        size = entry_size(family)
        at = (first - leaf * per_leaf) * size
        block = await _read_leaf(store, entry, leaf, cache)
        return [unpack_entry(family, block[at : at + size])]
    blocks = await read_blocks(store, entry, leaf, (end - 1) // per_leaf - leaf + 1, cache)
    slots: list[Entry | None] = []
    for block in blocks:
        found = list(unpack_leaf(family, block, dsize))
        slots += found
        slots += [None] * (per_leaf - len(found))
    return slots[first - leaf * per_leaf : end - leaf * per_leaf]


async def _read_leaf(
    store: BlockReader, entry: Entry, number: int, cache: PointerCache | None
) -> bytes:
    """Return one leaf, kept with the pointers: who wants one slot often wants its neighbour next."""
    if cache is None:
        return (await read_blocks(store, entry, number, 1))[0]
    (key,) = await leaf_keys(store, entry, number, 1, cache)
    if key is None:
        return b""
    block = cache.get(key.score)
    if block is None:
        (block,) = await read_blocks(store, entry, number, 1, cache)
        cache.put(key.score, block)
    return block
