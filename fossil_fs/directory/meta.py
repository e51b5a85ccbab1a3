"""The meta stream of a directory as numbered MetaBlocks, and the search over them by name.

Only the search supposes that names ascend over all blocks. It reads the last block, which lies beside
the pointers to all, and the one where an even spread of names would have it; a guess that does not halve
what is left is followed by one step of bisection. The first name of each block it met is remembered.
"""

from bisect import bisect_left, bisect_right
from math import floor
from typing import Final

from fossil_fs.directory.guess import guess
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
        self._numbers: list[int] = []  # of blocks whose first names are known, ascending
        self._fences: list[bytes] = []  # those names
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

        BadTree where they do not, and for a block without a name: it has no place in an order.
        """
        last = self.count - 1
        if last < 1 or not name:
            return 0
        if await self._first_name(last) <= name:
            return last
        at = bisect_right(self._fences, name)
        low = self._numbers[at - 1] if at else self._before_last(name)
        if name < (before := await self._first_name(low)):
            low = 0
            if name < (before := await self._first_name(low)):
                return 0
        at = bisect_right(self._fences, name)  # the last block is behind the name, and known
        high, behind = self._numbers[at], self._fences[at]
        halving = False
        while (span := high - low) > 1:
            steps = span // 2 if halving else int(guess(name, before, behind) * span)
            middle = min(max(low + steps, low + 1), high - 1)
            first = await self._first_name(middle)
            if name < first:
                high, behind = middle, first
            elif self._ends_before(middle, name):
                low, before = middle, first
            else:
                return middle
            halving = not halving and high - low > span // 2
        return low

    def _before_last(self, name: bytes) -> int:
        """Return where a name before the last block is, if the blocks are like that one."""
        last = self.count - 1
        block = self._kept.get(last)
        if block is None:
            return 0
        blocks = guess(name, block.name(0), block.name(len(block.slots) - 1))
        return max(last + floor(blocks), 0) if blocks < 0 else last - 1

    def _ends_before(self, number: int, name: bytes) -> bool:
        """Tell whether `name` may be behind a block: not if that was just read and goes on so far."""
        block = self._kept.get(number)
        return block is None or block.name(len(block.slots) - 1) < name

    async def _first_name(self, number: int) -> bytes:
        at = bisect_left(self._numbers, number)
        if at < len(self._numbers) and self._numbers[at] == number:
            return self._fences[at]
        block = await self.block(number)
        if not block.slots:
            raise BadTree("an empty meta block among others")
        first = block.name(0)
        self._remember(number, first)
        return first

    def _remember(self, number: int, first: bytes) -> None:
        at = bisect_left(self._numbers, number)  # another may have come in between
        if self._numbers[at : at + 1] == [number] or len(self._numbers) >= FENCES_MAX:
            return
        follows = at == 0 or self._fences[at - 1] < first
        if not follows or (at < len(self._fences) and first >= self._fences[at]):
            raise BadTree("meta blocks in no order")
        self._numbers.insert(at, number)
        self._fences.insert(at, first)
