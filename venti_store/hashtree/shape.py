"""The arithmetic of hash trees: how deep, which way down, how many; no bytes and no blocks.

A stream of `size` bytes has `leaf_count` leaves of `dsize` bytes. A pointer block holds `fan_out`
scores. Leaf n hangs below slot `path(n)[0]` of the top block, `path(n)[1]` of the next, and so on.
Source: venti(6).
"""

from venti_store.errors import TreeTooLarge
from venti_store.hashtree.layout import LAYOUTS, STREAM_SIZE_MAX
from venti_store.kind import DEPTH_MAX
from venti_store.score import Family


def leaf_count(size: int, dsize: int) -> int:
    """Return how many leaves of `dsize` bytes a stream of `size` bytes has."""
    return -(-size // dsize)


def fan_out(psize: int, score_size: int) -> int:
    """Return how many scores a pointer block of `psize` bytes holds; the rest of it is unused."""
    return psize // score_size


def depth_for(leaves: int, fan: int) -> int:
    """Return the levels of pointer blocks that `leaves` leaves need; may exceed what is legal."""
    depth = 0
    reach = 1
    while reach < leaves:
        reach *= fan
        depth += 1
    return depth


def path(leaf: int, fan: int, depth: int) -> tuple[int, ...]:
    """Return the slots that lead to a leaf, from the top pointer block down; empty at depth 0."""
    slots = []
    for _ in range(depth):
        leaf, slot = divmod(leaf, fan)
        slots.append(slot)
    return tuple(reversed(slots))


def leaves_max(family: Family, psize: int, dsize: int) -> int:
    """Return the most leaves that a stream with these block sizes may have."""
    return min(
        LAYOUTS[family.size].leaves_max,
        fan_out(psize, family.size) ** DEPTH_MAX,
        leaf_count(STREAM_SIZE_MAX, dsize),
    )


def needed_depth(family: Family, size: int, psize: int, dsize: int) -> int:
    """Return the depth of a stream of `size` bytes; TreeTooLarge where no tree can hold it."""
    leaves = leaf_count(size, dsize)
    if size > STREAM_SIZE_MAX or leaves > leaves_max(family, psize, dsize):
        raise TreeTooLarge(f"{size} bytes in blocks of {dsize}: more than a hash tree can hold")
    return depth_for(leaves, fan_out(psize, family.size))


def slots_per_leaf(dsize: int, entry_size: int) -> int:
    """Return how many entries a directory's leaf holds; none straddles two leaves."""
    return dsize // entry_size


def directory_size(slots: int, dsize: int, entry_size: int) -> int:
    """Return the size of a directory stream of `slots` entries."""
    full, rest = divmod(slots, slots_per_leaf(dsize, entry_size))
    return full * dsize + rest * entry_size


def slot_count(size: int, dsize: int, entry_size: int) -> int:
    """Return how many entries a directory stream of `size` bytes has."""
    full, rest = divmod(size, dsize)
    per_leaf = slots_per_leaf(dsize, entry_size)
    return full * per_leaf + min(rest // entry_size, per_leaf)
