"""A store that is watched: how much it gave and took, how long that took, and whether it answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from lib9.errors import Exit, SpawngridError
from lib9.latencies import BUCKETS, now_ns
from venti_store.interfaces import AtOnce, Block, BlockStore, HasCache, Key, MayBeAway

T = TypeVar("T")


@dataclass(slots=True)
class Watched:
    """Counts since the start; `*_counts` as `lib9.latencies` has them.

    `trouble`: why the last request failed, empty if it did not; `trouble_since` in seconds since 1970.
    """

    blocks_read: int = 0
    bytes_read: int = 0
    blocks_written: int = 0
    bytes_written: int = 0
    failed: int = 0
    trouble: str = ""
    trouble_since: float = 0.0
    read_counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    write_counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)


class WatchedStore:
    """A BlockStore that passes everything on and keeps `watched`."""

    def __init__(self, store: BlockStore) -> None:
        self.family = store.family
        self.watched = Watched()
        self._store = store

    @property
    def trouble(self) -> str:
        """Say why the store cannot be had, as far as is known without asking it; empty if it can."""
        store = self._store
        return store.trouble if isinstance(store, MayBeAway) else self.watched.trouble

    @property
    def hits(self) -> int:
        """The blocks that a cache before the store had; 0 where there is none."""
        return self._store.hits if isinstance(self._store, HasCache) else 0

    @property
    def at_once(self) -> bool:
        return isinstance(self._store, AtOnce) and self._store.at_once

    async def _watch(self, counts: list[int] | None, asked: Awaitable[T]) -> T:
        begun = now_ns()
        try:
            answer = await asked
        except (SpawngridError, OSError) as error:
            self._failed(error)
            raise
        if counts is not None:
            counts[(now_ns() - begun).bit_length()] += 1
        if self.watched.trouble:
            self.watched.trouble = ""
        return answer

    def _failed(self, error: Exception) -> None:
        watched = self.watched
        watched.failed += 1
        about_a_block = isinstance(error, SpawngridError) and error.exit_code in (
            Exit.NOT_FOUND,
            Exit.DAMAGED,
        )
        if not about_a_block:
            if not watched.trouble:
                watched.trouble_since = time.time()
            watched.trouble = str(error)

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        blocks = await self._watch(self.watched.read_counts, self._store.get_many(keys))
        self.watched.blocks_read += len(blocks)
        self.watched.bytes_read += sum(map(len, blocks))
        return blocks

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        return await self._watch(None, self._store.have_many(keys))

    async def put_many(self, blocks: Sequence[Block]) -> None:
        await self._watch(self.watched.write_counts, self._store.put_many(blocks))
        self.watched.blocks_written += len(blocks)
        self.watched.bytes_written += sum(len(block.data) for block in blocks)

    async def sync(self) -> None:
        await self._watch(None, self._store.sync())

    async def aclose(self) -> None:
        await self._store.aclose()
