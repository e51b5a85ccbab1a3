"""A store on this machine, and the peers that may have what it lacks or has bad.

What a peer gives is put into the store, so it is asked for once. What is there, is there: only reads
that would fail go further.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from lib9.errors import SpawngridError
from lib9.waiting import in_trio
from venti_store.halving import LACKING, Lacking, blocks_there
from venti_store.interfaces import Block, BlockStore, Key

AVOID_SECONDS: Final = 30.0  # a peer that did not answer is not asked for so long

log = logging.getLogger("venti")
OpenPeer = Callable[[], Awaitable[BlockStore]]


class BackedStore:
    """A BlockStore; peers are connected when they are first needed. Closes all of them."""

    def __init__(self, here: BlockStore, peers: Sequence[OpenPeer]) -> None:
        self.family = here.family
        self._here = here
        self._peers = tuple(peers)
        self._open: dict[int, BlockStore] = {}
        self._avoid_until = dict.fromkeys(range(len(peers)), 0.0)

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        """Return the blocks; raises what our own store says if no peer has one either."""
        if not in_trio():  # without an event loop nobody can be asked
            return await self._here.get_many(keys)
        lacking: dict[Key, Lacking] = {}
        here = await blocks_there(self._here.get_many, keys, lacking.__setitem__)
        if not lacking:
            return [data for data in here if data is not None]
        given = {key: await self._from_peers(key, error) for key, error in lacking.items()}
        return [given[key] if data is None else data for key, data in zip(keys, here, strict=True)]

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        """Tell what our own store has."""
        return await self._here.have_many(keys)

    async def put_many(self, blocks: Sequence[Block]) -> None:
        await self._here.put_many(blocks)

    async def sync(self) -> None:
        await self._here.sync()

    async def aclose(self) -> None:
        try:
            for store in self._open.values():
                await store.aclose()
        finally:
            self._open.clear()
            await self._here.aclose()

    async def _from_peers(self, key: Key, error: SpawngridError) -> bytes:
        for number in self._avoid_until:
            if time.monotonic() < self._avoid_until[number]:
                continue
            try:
                peer = await self._peer(number)
                [data] = await peer.get_many([key])
            except LACKING:
                continue
            except SpawngridError as failure:
                self._avoid_until[number] = time.monotonic() + AVOID_SECONDS
                log.info("%s", failure)
                continue
            await self._keep(Block(key.score, key.kind, data))
            return data
        raise error

    async def _peer(self, number: int) -> BlockStore:
        if number not in self._open:
            self._open[number] = await self._peers[number]()
        return self._open[number]

    async def _keep(self, block: Block) -> None:
        try:
            await self._here.put_many([block])
        except SpawngridError as error:  # it could not be kept; it can be used
            log.warning("%s", error)
