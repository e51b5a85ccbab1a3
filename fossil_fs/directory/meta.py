"""The meta stream of a directory as numbered MetaBlocks, and bisection over them by name.

Only the bisection supposes that names ascend over all blocks. It costs one block for each halving,
and less later, since the first name of each block it met is remembered.
"""

from typing import Final

from fossil_fs.format.metablock import MetaBlock, unpack_metablock
from venti_store.errors import BadTree
from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.read import read_blocks
from venti_store.interfaces import BlockReader

FENCES_MAX: Final = 8192  # first names remembered: those of about 600,000 entries
BLOCKS_MAX: Final = 2  # blocks kept: a lookup often follows another in the same block


class MetaStream:
    """Reads blocks of one meta stream; nothing is kept of it but what the bounds above allow."""

    def __init__(self, store: BlockReader, entry: Entry | None, cache: PointerCache) -> None:
        if entry is not None and entry.directory:
            raise BadTree(f"{entry.score.hex()}: a directory where a meta stream should be")
        self._store = store
        self._entry = entry
        self._cache = cache
        self._fences: dict[int, bytes] = {}
        self._kept: dict[int, MetaBlock] = {}
        self.count = entry.leaves if entry is not None else 0

    async def blocks(self, first: int, count: int) -> list[MetaBlock]:
        """Return the blocks `first` and following, `count` of them or as many as there are."""
        count = min(count, self.count - first)
        if self._entry is None or count <= 0:
            return []
        dsize = self._entry.dsize
        leaves = await read_blocks(self._store, self._entry, first, count, self._cache)
        return [unpack_metablock(leaf, dsize) for leaf in leaves]

    async def block(self, number: int) -> MetaBlock:
        """Return one block, perhaps the one that was asked for just before."""
        kept = self._kept.pop(number, None)
        if kept is None:
            (kept,) = await self.blocks(number, 1)
            while len(self._kept) >= BLOCKS_MAX:
                self._kept.pop(next(iter(self._kept)))
        self._kept[number] = kept
        return kept

    async def place(self, name: bytes) -> int:
        """Return the number of the one block that may hold `name`, if names ascend over all blocks.

        BadTree for a block without a name: it has no place in an order.
        """
        low, high = 0, self.count
        while high - low > 1:
            middle = (low + high) // 2
            if await self._first_name(middle) <= name:
                low = middle
            else:
                high = middle
        return low

    async def _first_name(self, number: int) -> bytes:
        fence = self._fences.get(number)
        if fence is None:
            block = await self.block(number)
            if not block.slots:
                raise BadTree("an empty meta block among others")
            fence = block.name(0)
            if len(self._fences) < FENCES_MAX:
                self._fences[number] = fence
        return fence
