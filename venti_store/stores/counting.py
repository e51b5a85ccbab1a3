"""A store that counts what it is asked for, around any other: for tests and benches."""

from collections.abc import Sequence
from dataclasses import dataclass

from venti_store.interfaces import Block, BlockStore, Key


@dataclass(slots=True)
class Counted:
    """Calls, blocks and bytes since the start, or since it was last replaced."""

    get_calls: int = 0
    blocks_read: int = 0
    bytes_read: int = 0
    have_calls: int = 0
    put_calls: int = 0
    blocks_written: int = 0
    bytes_written: int = 0
    syncs: int = 0


class CountingStore:
    """A BlockStore that passes everything on and counts it in `counted`."""

    def __init__(self, store: BlockStore) -> None:
        self.family = store.family
        self.counted = Counted()
        self._store = store

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        blocks = await self._store.get_many(keys)
        self.counted.get_calls += 1
        self.counted.blocks_read += len(blocks)
        self.counted.bytes_read += sum(map(len, blocks))
        return blocks

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        self.counted.have_calls += 1
        return await self._store.have_many(keys)

    async def put_many(self, blocks: Sequence[Block]) -> None:
        await self._store.put_many(blocks)
        self.counted.put_calls += 1
        self.counted.blocks_written += len(blocks)
        self.counted.bytes_written += sum(len(block.data) for block in blocks)

    async def sync(self) -> None:
        await self._store.sync()
        self.counted.syncs += 1

    async def aclose(self) -> None:
        await self._store.aclose()
