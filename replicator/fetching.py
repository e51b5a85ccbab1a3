"""Getting blocks that may be missing or bad where they should be: halving, and asking elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from lib9.errors import ProtocolError, Refused, RemoteProtocolError
from venti_store.errors import CorruptBlock, NoSuchBlock, StoreError
from venti_store.interfaces import Key
from venti_store.score import format_score

ELSEWHERE_AT_ONCE: Final = 8  # asked of another peer together: it knows nothing of what was told
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


async def fetch_elsewhere(
    others: Sequence[GetMany], sizes_max: Mapping[Key, int]
) -> dict[Key, bytes]:
    """Return what one of `others` has of the blocks; one that fails is no reason to fail.

    `sizes_max` is what the source said of them: if a block has more bytes, which its score proves,
    it is the source that is wrong, and RemoteProtocolError is raised. No more than ELSEWHERE_AT_ONCE
    blocks are held by then that may be such.
    """
    found: dict[Key, bytes] = {}
    for get_many in others:
        missing = [key for key in sizes_max if key not in found]
        for start in range(0, len(missing), ELSEWHERE_AT_ONCE):
            try:
                got = await fetch(get_many, missing[start : start + ELSEWHERE_AT_ONCE])
            except _FAILED:
                break
            _check_sizes(got, sizes_max)
            found |= got
    return found


def _check_sizes(blocks: Mapping[Key, bytes], sizes_max: Mapping[Key, int]) -> None:
    for key, data in blocks.items():
        if len(data) > sizes_max[key]:
            raise RemoteProtocolError(
                f"{format_score(key.score)}: a block of {len(data)} bytes where the log says {sizes_max[key]}"
            )
