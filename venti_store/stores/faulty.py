"""A store with faults of its own, from a seed, around any other: for tests.

Which blocks are missing or bad follows from the seed and the score, so it stays so until the block
is put again; which calls fail follows from the seed and the number of the call.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lib9.waiting import in_trio
from venti_store.errors import StoreError, StoreFull, Unreachable
from venti_store.interfaces import Block, BlockStore, Key
from venti_store.stores.messages import corrupt_block, no_such_block


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong: chances from 0 to 1."""

    missing: float = 0  # of a block: as if it had never been put
    corrupt: float = 0  # of a block: read as CorruptBlock
    unreachable: float = 0  # of a call: Unreachable, nothing done
    sync_fails: float = 0  # of a sync: StoreError
    delay_seconds: float = 0  # before every call, within trio
    bytes_max: int | None = None  # put before StoreFull


class FaultyStore:
    """A BlockStore that fails as `faults` say."""

    def __init__(self, store: BlockStore, faults: Faults, *, seed: int = 0) -> None:
        self.family = store.family
        self.faults = faults
        self._store = store
        self._seed = seed
        self._chance = random.Random(seed)
        self._put_again: set[Key] = set()
        self._bytes = 0

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        await self._call()
        for key in keys:
            if self._is(key, "missing", self.faults.missing):
                raise no_such_block(key.score, key.kind, "a faulty store")
            if self._is(key, "corrupt", self.faults.corrupt):
                raise corrupt_block(key.score, key.kind, "a faulty store", "by intent")
        return await self._store.get_many(keys)

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        await self._call()
        here = await self._store.have_many(keys)
        lost = [self._is(key, "missing", self.faults.missing) for key in keys]
        return [h and not gone for h, gone in zip(here, lost, strict=True)]

    async def put_many(self, blocks: Sequence[Block]) -> None:
        await self._call()
        size = sum(len(block.data) for block in blocks)
        if self.faults.bytes_max is not None and self._bytes + size > self.faults.bytes_max:
            raise StoreFull("a faulty store: full by intent")
        self._bytes += size
        here = await self._store.have_many([Key(block.score, block.kind) for block in blocks])
        await self._store.put_many(blocks)
        # what was there is mended by a second put; what is new may be lost at once
        self._put_again.update(
            Key(b.score, b.kind) for b, was in zip(blocks, here, strict=True) if was
        )

    async def sync(self) -> None:
        await self._call()
        if self._chance.random() < self.faults.sync_fails:
            raise StoreError("a faulty store: sync failed by intent")
        await self._store.sync()

    async def aclose(self) -> None:
        await self._store.aclose()

    async def _call(self) -> None:
        if self.faults.delay_seconds and in_trio():
            import trio

            await trio.sleep(self.faults.delay_seconds)
        if self._chance.random() < self.faults.unreachable:
            raise Unreachable("a faulty store: unreachable by intent")

    def _is(self, key: Key, fault: str, chance: float) -> bool:
        if not chance or key in self._put_again or self.family.is_nothing(key.score):
            return False
        draw = random.Random(f"{self._seed} {fault} {key.score.hex()} {int(key.kind)}").random()
        return draw < chance
