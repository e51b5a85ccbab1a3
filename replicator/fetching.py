"""Getting blocks that may be missing or bad where they should be: halving, and asking elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from lib9.errors import ProtocolError, Refused
from venti_store.errors import CorruptBlock, NoSuchBlock, StoreError
from venti_store.interfaces import Key

GetMany = Callable[[Sequence[Key]], Awaitable[list[bytes]]]
_LACKING: Final = (NoSuchBlock, CorruptBlock)
_FAILED: Final = (*_LACKING, StoreError, ProtocolError, Refused)


async def fetch(get_many: GetMany, keys: Sequence[Key]) -> dict[Key, bytes]:
    """Return those of the blocks that are there and good. Raises as `get_many` for all else."""
    if not keys:
        return {}
    try:
        return dict(zip(keys, await get_many(keys), strict=True))
    except _LACKING:
        if len(keys) == 1:
            return {}
    middle = len(keys) // 2
    return await fetch(get_many, keys[:middle]) | await fetch(get_many, keys[middle:])


async def fetch_elsewhere(others: Sequence[GetMany], keys: Sequence[Key]) -> dict[Key, bytes]:
    """Return what one of `others` has of the blocks; one that fails is no reason to fail."""
    found: dict[Key, bytes] = {}
    for get_many in others:
        missing = [key for key in keys if key not in found]
        if not missing:
            break
        try:
            found |= await fetch(get_many, missing)
        except _FAILED:
            continue
    return found
