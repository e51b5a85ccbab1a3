"""Many blocks of which some may not be there, or be bad: who they are is found by halving.

A store raises for the first block that fails, and tells nothing of those behind it. Most often all are there,
and one request it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from venti_store.errors import CorruptBlock, NoSuchBlock
from venti_store.interfaces import Key

Lacking = NoSuchBlock | CorruptBlock
LACKING: Final = (NoSuchBlock, CorruptBlock)

GetMany = Callable[[Sequence[Key]], Awaitable[list[bytes]]]


async def blocks_there(
    get_many: GetMany, keys: Sequence[Key], lacks: Callable[[Key, Lacking], None]
) -> list[bytes | None]:
    """Return the blocks in the order of `keys`; None for those that cannot be had, `lacks` is told why.

    Raises as `get_many` for anything but a block that is not there or bad.
    """
    if not keys:
        return []
    try:
        return list(await get_many(keys))
    except LACKING as error:
        if len(keys) == 1:
            lacks(keys[0], error)
            return [None]
    middle = len(keys) // 2
    first = await blocks_there(get_many, keys[:middle], lacks)
    return first + await blocks_there(get_many, keys[middle:], lacks)
