"""A new tree from an old one, copy on write: what did not change is neither read nor written.

Changed leaves come in order. One pointer block of every level is open at a time, the way down to
the leaf at hand; moving on closes blocks from below: a closed block goes to the sink and its score
into its parent. So a block is written once, after those below it, and the result has the same
blocks as building the new contents from nothing.

Invariant: below an open block, slots left of the way down are new, those on and right of it old.
"""

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from venti_store.hashtree import shape
from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry, entry_size
from venti_store.hashtree.read import fetch_pointers
from venti_store.hashtree.zero import truncate_leaf, truncate_pointers
from venti_store.interfaces import BlockReader, BlockSink
from venti_store.kind import pointer
from venti_store.score import Buffer, Score

WINDOW: Final = 1024  # changed leaves whose pointer blocks are fetched together: at most 8 MiB


async def update(
    store: BlockReader,
    sink: BlockSink,
    entry: Entry,
    changes: Iterable[tuple[int, Buffer]] | AsyncIterable[tuple[int, Buffer]],
    *,
    size: int,
    cache: PointerCache | None = None,
) -> Entry:
    """Return the entry of the stream after `changes`, with `size` bytes.

    `changes` gives leaf numbers, rising, with the new contents of each, zero-truncated or not. An
    asynchronous one may hand the sink's blocks on between leaves, so that they do not pile up. A
    stream that grows is zeros in between. One that is cut inside a leaf needs that leaf as the last
    change, without what lies beyond. Raises as the store does, BadTree, TreeTooLarge; ValueError
    for changes out of order or out of range.
    """
    editor = _Editor(store, sink, entry, size, cache)
    await editor.start()
    if isinstance(changes, AsyncIterable):
        async for number, data in changes:
            if editor.take(number, data):
                await editor.flush()
    else:
        for number, data in changes:
            if editor.take(number, data):
                await editor.flush()
    await editor.flush()
    return await editor.finish()


@dataclass(slots=True)
class _Node:
    """An open pointer block: `stored` is what the store holds of it, None for a new one."""

    number: int
    scores: bytearray
    stored: bytes | None


class _Editor:
    def __init__(
        self,
        store: BlockReader,
        sink: BlockSink,
        entry: Entry,
        size: int,
        cache: PointerCache | None,
    ) -> None:
        family = store.family
        self._store, self._sink, self._cache = store, sink, cache
        self._family = family
        self._old, self._size = entry, size
        self._room = entry.dsize
        if entry.directory:
            self._room -= entry.dsize % entry_size(family)
        self._leaves = shape.leaf_count(size, entry.dsize)
        self._fan = shape.fan_out(entry.psize, family.size)
        self._depth = shape.needed_depth(family, size, entry.psize, entry.dsize)
        self._spans = [self._fan**level for level in range(self._depth + 1)]
        self._top = entry.score
        self._open: list[_Node | None] = [None] * (self._depth + 1)  # by level; [0] is unused
        self._window: list[tuple[int, Score]] = []
        self._last = -1  # the last leaf taken
        self._fetched: dict[tuple[int, int], bytes] = {}  # level, number: ahead of opening

    async def start(self) -> None:
        """Bring the old tree to the new depth: down its left edge, or with new blocks above it."""
        level = self._old.depth
        while level > self._depth and not self._family.is_nothing(self._top):
            [block] = await self._fetch([self._top], level)
            self._top = Score(block[: self._family.size]) if block else self._family.nothing
            level -= 1
        for above in range(level + 1, self._depth + 1):
            first = self._top if above == level + 1 else b""
            self._open[above] = _Node(0, bytearray(first), None)

    def take(self, number: int, data: Buffer) -> bool:
        """Take a changed leaf; True when it is time to `flush`."""
        if not self._last < number < self._leaves:
            raise ValueError(f"leaf {number} after {self._last}, of {self._leaves}")
        if len(data) > self._room:
            raise ValueError(f"leaf of {len(data)} bytes, at most {self._room} fit")
        self._last = number
        self._window.append((number, self._sink.put(self._old.kind, truncate_leaf(data))))
        return len(self._window) >= WINDOW

    async def flush(self) -> None:
        """Put the leaves taken into their pointer blocks."""
        await self._prefetch([number for number, _ in self._window])
        for number, score in self._window:
            if not self._depth:
                self._top = score
                continue
            await self._go_to(number)
            self._set(1, number, score)
        self._window.clear()

    async def finish(self) -> Entry:
        """Cut what lies beyond the new end, close everything and return the new entry."""
        if not self._leaves:
            return replace(self._old, score=self._family.nothing, size=0, depth=0)
        if self._leaves < self._old.leaves:
            await self._go_to(self._leaves - 1)
            for level in range(1, self._depth + 1):
                child = (self._leaves - 1) // self._spans[level - 1]
                del self._node(level).scores[(child % self._fan + 1) * self._family.size :]
        for level in range(1, self._depth + 1):
            self._close(level)
        top = self._family.nothing if self._family.is_nothing(self._top) else self._top
        return replace(self._old, score=top, size=self._size, depth=self._depth)

    async def _go_to(self, leaf: int) -> None:
        """Open the pointer blocks above a leaf; those that are not above it are closed."""
        wrong = self._depth
        while wrong and self._is_open(wrong, leaf // self._spans[wrong]):
            wrong -= 1
        for level in range(1, wrong + 1):
            self._close(level)
        for level in range(wrong, 0, -1):
            number = leaf // self._spans[level]
            block = self._fetched.pop((level, number), None)
            if block is None:
                [block] = await self._fetch([self._score(level, number)], level)
            self._open[level] = _Node(number, self._whole_scores(block), block)

    def _close(self, level: int) -> None:
        """Write an open block, unless it is as it was, and tell its parent."""
        node, self._open[level] = self._open[level], None
        if node is None:
            return
        data = truncate_pointers(node.scores, self._family)
        if data == node.stored:
            return
        score = self._sink.put(pointer(level), data)
        if level == self._depth:
            self._top = score
        else:
            self._set(level + 1, node.number, score)

    def _set(self, level: int, child: int, score: Score) -> None:
        """Write the score of child number `child` into the open block above it."""
        scores, size = self._node(level).scores, self._family.size
        at = child % self._fan * size
        if len(scores) < at:
            scores += self._family.nothing * ((at - len(scores)) // size)
        scores[at : at + size] = score

    async def _prefetch(self, leaves: list[int]) -> None:
        """Fetch the pointer blocks above `leaves`, those of one level at once."""
        self._fetched.clear()
        for level in range(self._depth, 0, -1):
            span = self._spans[level]
            numbers = dict.fromkeys(leaf // span for leaf in leaves)
            wanted = [number for number in numbers if not self._is_open(level, number)]
            blocks = await self._fetch([self._score(level, n) for n in wanted], level)
            for number, block in zip(wanted, blocks, strict=True):
                self._fetched[level, number] = block

    async def _fetch(self, scores: list[Score], level: int) -> list[bytes]:
        return await fetch_pointers(self._store, scores, level, self._old.psize, self._cache)

    def _score(self, level: int, number: int) -> Score:
        """Return the score of a block from its parent, which is open or was fetched."""
        if level == self._depth:
            return self._top
        above, slot = divmod(number, self._fan)
        parent: Buffer
        if self._is_open(level + 1, above):
            parent = self._node(level + 1).scores
        else:
            parent = self._whole_scores(self._fetched[level + 1, above])
        at = slot * self._family.size
        return Score(bytes(parent[at : at + self._family.size])) or self._family.nothing

    def _is_open(self, level: int, number: int) -> bool:
        node = self._open[level]
        return node is not None and node.number == number

    def _node(self, level: int) -> _Node:
        node = self._open[level]
        assert node is not None
        return node

    def _whole_scores(self, block: bytes) -> bytearray:
        size = self._family.size
        return bytearray(block[: min(len(block) // size, self._fan) * size])
