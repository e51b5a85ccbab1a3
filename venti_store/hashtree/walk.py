"""Every block below some roots or entries, children before parents, in bounded memory and time.

A stack holds, for every block that was read, what is left of the blocks it points to. The top of
the stack is read in batches, so that a distant store answers many blocks at once. A block is given
out when everything below it was: it counts what it still waits for. Blocks above leaves are
remembered and not walked twice, or a few blocks that point to each other many times over would
cost exponential time.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

from venti_store.errors import BadTree, CorruptBlock, NoSuchBlock
from venti_store.halving import blocks_there
from venti_store.hashtree.children import Ref, children, root_ref, size_max
from venti_store.hashtree.root import unpack_root
from venti_store.interfaces import Block, BlockReader, Key
from venti_store.kind import Kind
from venti_store.score import Score

BATCH_MAX: Final = 256  # blocks read at once
BATCH_SIZE: Final = 16 << 20  # bytes read at once
HELD_SIZE_GOAL: Final = 32 << 20  # bytes of blocks that wait: from here on one block at a time
HELD_SIZE_MAX: Final = 256 << 20  # bytes: NESTING_MAX blocks of 8 KiB
NESTING_MAX: Final = 1 << 15  # blocks from a root or entry down to a leaf
REMEMBERED_MAX: Final = 1 << 20  # blocks above leaves known to be done: about 200 MB
LEAVES_REMEMBERED_MAX: Final = (
    1 << 17
)  # leaves known to be done: spares reading the common ones again
HISTORY_MAX: Final = 1 << 20  # roots before a root

Skip = Callable[[Sequence[Ref]], Awaitable[Sequence[bool]]]
Missing = Callable[[Key, NoSuchBlock | CorruptBlock], None]
_Place = tuple[Key, Kind]  # a block, and what its leaves are


async def history(store: BlockReader, score: Score, missing: Missing | None = None) -> list[Score]:
    """Return the scores of a root and of those before it, newest first.

    A root before that is not here ends it and is told to `missing`; without that, raises.
    """
    scores: list[Score] = []
    while not store.family.is_nothing(score):
        if len(scores) == HISTORY_MAX:
            raise BadTree(f"more than {HISTORY_MAX} roots, each before the other")
        key = Key(score, Kind.ROOT)
        try:
            [block] = await store.get_many([key])
        except (NoSuchBlock, CorruptBlock) as error:
            if missing is None or not scores:
                raise
            missing(key, error)
            break
        scores.append(score)
        score = unpack_root(store.family, block).prev
    return scores


def root_refs(store: BlockReader, scores: Iterable[Score]) -> list[Ref]:
    """Return where to start for these roots."""
    return [root_ref(store.family, score) for score in scores]


class _Waiting:
    """A block that was or will be read, and waits for `pending` others below it."""

    __slots__ = ("block", "broken", "nesting", "parents", "pending", "ref")

    def __init__(self, ref: Ref, nesting: int) -> None:
        self.ref = ref
        self.nesting = nesting
        self.block: bytes | None = None
        self.pending = 0
        self.parents: list[_Waiting] = []
        self.broken = False  # something below is missing

    @property
    def place(self) -> _Place:
        return self.ref.key, self.ref.leaf


class Walk:
    """Iterates over batches of blocks: `async for blocks in Walk(store, refs)`.

    `skip` is asked of each batch of places and tells which blocks need not be read, nor anything
    below them. Blocks that are not here or damaged are told to `missing`, and those above them are
    not given out (with `above_holes` they are); without `missing` the walk raises. Raises as the
    store does otherwise, and BadTree for blocks that make no sense where they are.

    A leaf may be given out more than once.
    """

    def __init__(
        self,
        store: BlockReader,
        refs: Iterable[Ref],
        *,
        skip: Skip | None = None,
        missing: Missing | None = None,
        above_holes: bool = False,
    ) -> None:
        self._store, self._family = store, store.family
        self._skip, self._missing, self._above_holes = skip, missing, above_holes
        starts = (ref for ref in refs if not store.family.is_nothing(ref.key.score))
        self._stack: list[tuple[Iterator[Ref], _Waiting | None]] = [(starts, None)]
        self._waiting: dict[_Place, _Waiting] = {}
        self._done: dict[_Place, bool] = {}  # is it or something below missing? oldest first
        self._leaves_done: dict[_Place, bool] = {}
        self._held = 0  # bytes of blocks that wait
        self._out: list[Block] = []

    def __aiter__(self) -> "Walk":
        return self

    async def __anext__(self) -> list[Block]:
        while self._stack and not self._out:
            await self._step()
        if not self._out:
            raise StopAsyncIteration
        out, self._out = self._out, []
        return out

    async def _step(self) -> None:
        """Read the next batch."""
        batch = self._next()
        if self._skip is not None and batch:
            skipped = await self._skip([waiting.ref for waiting in batch])
            for waiting, unneeded in zip(batch, skipped, strict=True):
                if unneeded:
                    self._complete(waiting)
            batch = [w for w, unneeded in zip(batch, skipped, strict=True) if not unneeded]
        blocks = await self._fetch([waiting.ref.key for waiting in batch])
        for waiting, block in reversed(list(zip(batch, blocks, strict=True))):
            waiting.block = block
            if block is None:
                waiting.broken = True
            elif waiting.ref.key.kind is not Kind.DATA:
                self._hold(len(block))
                waiting.pending = 1  # for what is left of its children
                self._stack.append((children(self._family, waiting.ref, block), waiting))
            elif len(block) > waiting.ref.dsize:
                raise BadTree(f"{waiting.ref.key.score.hex()}: leaf of {len(block)} bytes")
        for waiting in batch:
            if not waiting.pending:
                self._complete(waiting)

    def _next(self) -> list[_Waiting]:
        """Take blocks to read from the top of the stack."""
        batch: list[_Waiting] = []
        size = 0
        size_goal = min(BATCH_SIZE, HELD_SIZE_GOAL - self._held)
        while self._stack and len(batch) < BATCH_MAX and (not batch or size < size_goal):
            refs, parent = self._stack[-1]
            ref = next(refs, None)
            if ref is None:
                self._stack.pop()
                if parent is not None:
                    self._child_done(parent)
                continue
            waiting = self._want(ref, parent)
            if waiting is not None:
                batch.append(waiting)
                size += size_max(ref)
        return batch

    def _want(self, ref: Ref, parent: _Waiting | None) -> _Waiting | None:
        """Let `parent` wait for the block at `ref`; return it if it must be read."""
        place = (ref.key, ref.leaf)
        waiting = self._waiting.get(place)
        new = None
        if waiting is None:
            done = self._leaves_done if ref.key.kind is Kind.DATA else self._done
            broken = done.get(place)
            if broken is not None:
                if parent is not None:
                    parent.broken |= broken
                return None
            nesting = parent.nesting + 1 if parent is not None else 0
            if nesting > NESTING_MAX:
                raise BadTree(f"{ref.key.score.hex()}: nested more than {NESTING_MAX} blocks deep")
            self._waiting[place] = waiting = new = _Waiting(ref, nesting)
        if parent is not None:
            waiting.parents.append(parent)
            parent.pending += 1
        return new

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > HELD_SIZE_MAX:
            raise BadTree(f"directories nested so deep that they take {self._held} bytes")

    def _child_done(self, parent: _Waiting) -> None:
        parent.pending -= 1
        if not parent.pending:
            self._complete(parent)

    def _complete(self, waiting: _Waiting) -> None:
        """Give out a block that waits for nothing more, and those that waited for it alone."""
        ready = [waiting]
        while ready:
            done = ready.pop()
            del self._waiting[done.place]
            kind = done.ref.key.kind
            if done.block is not None:
                if kind is not Kind.DATA:
                    self._held -= len(done.block)
                if not done.broken or self._above_holes:
                    self._out.append(Block(done.ref.key.score, kind, done.block))
            self._remember(done)
            for parent in done.parents:
                parent.broken |= done.broken
                parent.pending -= 1
                if not parent.pending:
                    ready.append(parent)

    def _remember(self, done: _Waiting) -> None:
        if done.ref.key.kind is Kind.DATA:
            known, most = self._leaves_done, LEAVES_REMEMBERED_MAX
        else:
            known, most = self._done, REMEMBERED_MAX
        known[done.place] = done.broken
        if len(known) > most:
            del known[next(iter(known))]

    async def _fetch(self, keys: list[Key]) -> list[bytes | None]:
        """Return blocks; None for those not here, where that is to be told."""
        if self._missing is None:
            return list(await self._store.get_many(keys)) if keys else []
        return await blocks_there(self._store.get_many, keys, self._missing)
