"""Several stores that should hold the same: reads go on with the next one after a failure.

Writes go to the first store, and sync is its sync: a block is durable where it was put, and
replication brings it to the others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from lib9.errors import ProtocolError, Refused, SpawngridError
from venti_store.errors import CorruptBlock, HashMismatch, NoSuchBlock, StoreError, Unreachable
from venti_store.interfaces import Block, BlockStore, Key, MayBeAway

AVOID_SECONDS: Final = 30.0  # a store that did not answer is asked last for so long
_TRY_NEXT: Final = (NoSuchBlock, CorruptBlock, StoreError, ProtocolError, Refused)


class ReplicaStore:
    """A BlockStore over others of one hash; closes them all."""

    def __init__(self, stores: Sequence[BlockStore]) -> None:
        """Take the stores in the order of preference; HashMismatch if they differ."""
        self.family = stores[0].family
        if any(store.family is not self.family for store in stores):
            raise HashMismatch("replicas differ in hash")
        self._stores = tuple(stores)
        self._avoid_until = dict.fromkeys(range(len(stores)), 0.0)

    @property
    def trouble(self) -> str:
        """Say what is wrong with the first, which takes all that is put."""
        first = self._stores[0]
        return first.trouble if isinstance(first, MayBeAway) else ""

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        found: dict[Key, bytes] = {}
        failure: SpawngridError | None = None
        for index in self._order():
            missing = [key for key in dict.fromkeys(keys) if key not in found]
            why = await self._get_from(index, missing, found)
            if why is None:
                return [found[key] for key in keys]
            # one that did not answer may have it: "not there" would say too much
            failure = failure if isinstance(failure, Unreachable) else why
        assert failure is not None, "there is a store"
        raise failure

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        """Tell of each key whether any of the stores that answer has it."""
        here = [False] * len(keys)
        failure: SpawngridError | None = None
        answered = False
        for index in self._order():
            try:
                found = await self._stores[index].have_many(keys)
            except HashMismatch:
                raise
            except _TRY_NEXT as error:
                failure = self._failed(index, error)
                continue
            answered = True
            here = [a or b for a, b in zip(here, found, strict=True)]
            if all(here):
                break
        if failure is not None and not answered:
            raise failure
        return here

    async def put_many(self, blocks: Sequence[Block]) -> None:
        await self._stores[0].put_many(blocks)

    async def sync(self) -> None:
        await self._stores[0].sync()

    async def aclose(self) -> None:
        failure: SpawngridError | None = None
        for store in self._stores:
            try:
                await store.aclose()
            except SpawngridError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _order(self) -> list[int]:
        now = time.monotonic()
        return sorted(self._avoid_until, key=lambda index: (self._avoid_until[index] > now, index))

    def _failed(self, index: int, error: SpawngridError) -> SpawngridError:
        if isinstance(error, Unreachable):
            self._avoid_until[index] = time.monotonic() + AVOID_SECONDS
        return error

    async def _get_from(
        self, index: int, keys: list[Key], found: dict[Key, bytes]
    ) -> SpawngridError | None:
        """Get what one store has of `keys`; return why not all."""
        store = self._stores[index]
        try:
            found.update(zip(keys, await store.get_many(keys), strict=True))
        except HashMismatch:
            raise
        except (NoSuchBlock, CorruptBlock) as error:
            if len(keys) > 1:
                return await self._get_each(index, keys, found)
            return error
        except _TRY_NEXT as error:
            return self._failed(index, error)
        return None

    async def _get_each(
        self, index: int, keys: list[Key], found: dict[Key, bytes]
    ) -> SpawngridError | None:
        """A block of a batch is not there or bad: get the others, halving where it still fails."""
        failure = None
        middle = len(keys) // 2
        for half in (keys[:middle], keys[middle:]):
            failure = await self._get_from(index, half, found) or failure
        return failure
