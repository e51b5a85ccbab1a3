"""A store far away behind a cache that is near: what was read once is not fetched again.

The far store decides what is there and what is durable; the cache only answers reads. Two reads of
one block at the same time are one read of the far store.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from lib9.errors import SpawngridError
from lib9.waiting import in_thread, in_trio
from venti_store.interfaces import Block, BlockStore, Key, MayBeAway
from venti_store.stores.lmdb.cache import BlockCache
from venti_store.stores.prefetch import Prefetcher

log = logging.getLogger("venti")


class TieredStore:
    """A BlockStore; closes both when it is closed."""

    def __init__(self, near: BlockCache, far: BlockStore, *, ahead: bool = True) -> None:
        """Put `near` before `far`. With `ahead`, metadata is fetched before it is asked for."""
        self.family = far.family
        self.near = near
        self.far = far
        self._coming: dict[Key, trio.Event] = {}
        self._ahead = Prefetcher(far.family, self._fetch_ahead) if ahead else None
        self._closed = False
        self.hits = 0

    @property
    def trouble(self) -> str:
        return self.far.trouble if isinstance(self.far, MayBeAway) else ""

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        blocks = await self._get_many(keys)
        if self._ahead is not None and in_trio():
            for key, block in zip(keys, blocks, strict=True):
                self._ahead.look(key, block)
        return blocks

    async def _get_many(self, keys: Sequence[Key]) -> list[bytes]:
        found: dict[Key, bytes] = {}
        wanted = []
        for key in dict.fromkeys(keys):
            if self.family.is_nothing(key.score) and len(key.score) == self.family.size:
                found[key] = b""
            else:
                wanted.append(key)
        while missing := [key for key in wanted if key not in found]:
            others = {self._coming[key] for key in missing if key in self._coming}
            near = self.near.get(missing)
            self.hits += len(near)
            found.update(near)
            ours = [key for key in missing if key not in found and key not in self._coming]
            if ours:
                found.update(await self._fetch(ours))
            for event in others:
                await event.wait()
            if others:
                # what another task fetched is near now; if it failed or is gone again, we fetch
                found.update(self.near.get([key for key in missing if key not in found]))
        return [found[key] for key in keys]

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        return await self.far.have_many(keys)

    async def put_many(self, blocks: Sequence[Block]) -> None:
        await self.far.put_many(blocks)
        await self._keep([block for block in blocks if block.data])

    async def sync(self) -> None:
        await self.far.sync()

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._ahead is not None:
            self._ahead.close()
        try:
            await self.far.aclose()
        finally:
            self.near.close()

    async def _fetch_ahead(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """Return what can be had of these blocks; it is near then."""
        if self._closed:
            return {}
        try:
            return dict(zip(keys, await self._get_many(keys), strict=True))
        except SpawngridError:
            return {}

    async def _fetch(self, keys: list[Key]) -> dict[Key, bytes]:
        done = trio.Event()
        self._coming.update(dict.fromkeys(keys, done))
        try:
            blocks = await self.far.get_many(keys)
            await self._keep(
                [Block(k.score, k.kind, data) for k, data in zip(keys, blocks, strict=True)]
            )
        finally:
            for key in keys:
                del self._coming[key]
            done.set()
        return dict(zip(keys, blocks, strict=True))

    async def _keep(self, blocks: list[Block]) -> None:
        """Put blocks near; a cache that cannot take them is no reason to fail."""
        if not blocks:
            return
        try:
            await in_thread(lambda: self.near.put(blocks))
        except SpawngridError as error:
            log.warning("cache: %s", error)
