"""Getting blocks that may be missing or bad where they should be, there and elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lib9.errors import ProtocolError, Refused, RemoteProtocolError
from venti_store.errors import StoreError
from venti_store.halving import LACKING, GetMany, blocks_there
from venti_store.interfaces import Key
from venti_store.score import format_score

ELSEWHERE_AT_ONCE: Final = 8  # asked of another peer together: it knows nothing of what was told
_FAILED: Final = (*LACKING, StoreError, ProtocolError, Refused)


async def fetch(get_many: GetMany, keys: Sequence[Key]) -> dict[Key, bytes]:
    """Return those of the blocks that are there and good. Raises as `get_many` for all else."""
    found = await blocks_there(get_many, keys, lambda _key, _error: None)
    return {key: data for key, data in zip(keys, found, strict=True) if data is not None}


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
