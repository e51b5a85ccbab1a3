"""What every store asks of the blocks it is given."""

from collections.abc import Iterable

from venti_store.codec import NAME_SIZE_MAX, block_size_max
from venti_store.errors import BlockTooLarge, HashMismatch
from venti_store.interfaces import Block
from venti_store.score import Buffer, Family


def acceptable(blocks: Iterable[Block], family: Family) -> list[Block]:
    """Return the blocks that hold anything; HashMismatch or BlockTooLarge if one cannot be kept."""
    limit = block_size_max(family)
    taken = []
    for block in blocks:
        if len(block.score) != family.size:
            raise HashMismatch(f"{block.score.hex()}: not a {family.name} score")
        if len(block.data) > limit:
            raise BlockTooLarge(
                f"{block.score.hex()}: {len(block.data)} bytes, a {family.name} block has {limit} at most"
            )
        if block.data:
            taken.append(block)
    return taken


def acceptable_name(data: Buffer) -> bytes:
    """Return the bytes of a name record; BlockTooLarge if it is empty or too long."""
    if not 0 < len(data) <= NAME_SIZE_MAX:
        raise BlockTooLarge(f"name record of {len(data)} bytes, 1 to {NAME_SIZE_MAX} are possible")
    return bytes(data)
