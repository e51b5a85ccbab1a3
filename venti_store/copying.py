"""Copying trees, or everything, from one store to another of the same hash.

Blocks go children first, so a destination never has a block of a tree without those below it: an
interrupted copy is taken up again by running it again, and what is there is not looked below.
For the same reason a block above a hole stays behind, unless asked for.

Reading and writing overlap: one batch is written while the next is read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from lib9.errors import SpawngridError, UsageError
from venti_store.errors import CorruptBlock, HashMismatch, NoSuchBlock
from venti_store.hashtree.children import Ref
from venti_store.hashtree.walk import Missing, Walk, history, root_refs
from venti_store.interfaces import Block, BlockReader, BlockStore, BlockWriter, Key, LogReader
from venti_store.kind import Kind, level
from venti_store.score import Score

LOG_BATCH_MAX: Final = 256  # blocks of a log written at once
LOG_BATCH_SIZE: Final = 4 << 20  # bytes of them


@dataclass(slots=True)
class Copied:
    """What a copy has done so far."""

    blocks: int = 0  # sent
    size: int = 0  # bytes in them
    known: int = 0  # places not looked at: the block was there
    holes: int = 0  # blocks that the source could not give
    on_change: Callable[["Copied"], None] = field(default=lambda _: None, repr=False)


async def copy_trees(
    source: BlockReader,
    destination: BlockStore,
    scores: Iterable[Score],
    *,
    with_history: bool = False,
    full: bool = False,
    above_holes: bool = False,
    on_hole: Missing | None = None,
    copied: Copied | None = None,
) -> Copied:
    """Copy the trees of `scores` to stable storage and return what was done.

    `with_history` also those of the roots before them. `full` looks below blocks that are there:
    needed only where the destination may have holes. Blocks the source cannot give are told to
    `on_hole` and counted; the blocks above are left out, unless `above_holes`. Raises NoSuchBlock
    for a root that is not there, HashMismatch, BadTree, and what the stores raise.
    """
    check_same_hash(source, destination)
    done = copied or Copied()
    wanted = list(scores)
    wanted_keys = {Key(score, Kind.ROOT) for score in wanted}

    def missing(key: Key, error: NoSuchBlock | CorruptBlock) -> None:
        if key in wanted_keys:
            raise error
        done.holes += 1
        if on_hole is not None:
            on_hole(key, error)

    async def skip(refs: Sequence[Ref]) -> list[bool]:
        there = await destination.have_many([ref.key for ref in refs])
        skipped = [t and _may_skip(ref, full=full) for t, ref in zip(there, refs, strict=True)]
        done.known += sum(skipped)
        return skipped

    if with_history:
        wanted = [s for score in wanted for s in reversed(await history(source, score, missing))]
    walk = Walk(
        source, root_refs(source, wanted), skip=skip, missing=missing, above_holes=above_holes
    )
    await _pump(walk, destination, done)
    return done


async def copy_log(
    source: BlockReader,
    destination: BlockStore,
    *,
    on_damage: Callable[[SpawngridError], None] | None = None,
    copied: Copied | None = None,
) -> Copied:
    """Copy every block of the source's log, in its order, to stable storage.

    Name records are left to replication. Damaged entries are told to `on_damage` and counted.
    Raises UsageError for a source without a log, HashMismatch, and what the stores raise.
    """
    check_same_hash(source, destination)
    if not isinstance(source, LogReader):
        raise UsageError("the source has no log of all it holds: name the scores to copy")
    done = copied or Copied()
    batches = _LogBatches(source, destination, done, on_damage)
    await _pump(batches, destination, done)
    return done


def check_same_hash(source: BlockReader, destination: BlockReader) -> None:
    """Raise HashMismatch unless blocks of the one can be blocks of the other."""
    a, b = source.family.name, destination.family.name
    if a != b:
        raise HashMismatch(f"stores differ in hash: {a} and {b}")


def _may_skip(ref: Ref, *, full: bool) -> bool:
    """Tell whether a block that is there may stand for everything below it.

    Pointers above directories may not: the same block may be there as one above data, with leaves
    of the same bytes and another type.
    """
    kind = ref.key.kind
    if full:
        return kind is Kind.DATA
    return not (level(kind) and ref.leaf is Kind.DIRECTORY)


class _LogBatches:
    """The blocks of a log that the destination lacks, in order, in batches."""

    def __init__(
        self,
        source: LogReader,
        destination: BlockReader,
        done: Copied,
        on_damage: Callable[[SpawngridError], None] | None,
    ) -> None:
        self._source, self._destination, self._done = source, destination, done
        self._on_damage = on_damage
        self._records = source.log()
        self._next = 1  # number of the entry to read next

    def __aiter__(self) -> "_LogBatches":
        return self

    async def __anext__(self) -> list[Block]:
        blocks = self._read()
        if not blocks:
            raise StopAsyncIteration
        there = await self._destination.have_many([Key(b.score, b.kind) for b in blocks])
        self._done.known += sum(there)
        return [block for block, known in zip(blocks, there, strict=True) if not known]

    def _read(self) -> list[Block]:
        blocks: list[Block] = []
        size = 0
        while len(blocks) < LOG_BATCH_MAX and size < LOG_BATCH_SIZE:
            try:
                record = next(self._records, None)
            except CorruptBlock as error:
                self._done.holes += 1
                if self._on_damage is not None:
                    self._on_damage(error)
                self._next += 1
                self._records = self._source.log(self._next)
                continue
            if record is None:
                break
            self._next = record.number + 1
            if record.kind is not None:
                blocks.append(Block(record.score, record.kind, record.data))
                size += len(record.data)
        return blocks


async def _pump(batches: "Walk | _LogBatches", destination: BlockWriter, done: Copied) -> None:
    """Write batches while the next ones are read; at most two are in memory, and one in the walk."""
    import trio

    send, receive = trio.open_memory_channel[list[Block]](1)

    async def read() -> None:
        async with send:
            async for batch in batches:
                await send.send(batch)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            async for batch in receive:
                await _write(batch, destination, done)
    except BaseExceptionGroup as group:  # of the one that failed: the other was cancelled
        raise _first(group) from None
    await destination.sync()


async def _write(batch: list[Block], destination: BlockWriter, done: Copied) -> None:
    for part in _split_at_roots(batch):
        if part[0].kind is Kind.ROOT:
            await destination.sync()  # a root is never there before what it stands for
        await destination.put_many(part)
        done.blocks += len(part)
        done.size += sum(len(block.data) for block in part)
        done.on_change(done)


def _split_at_roots(batch: list[Block]) -> Iterator[list[Block]]:
    start = 0
    for number, block in enumerate(batch):
        if block.kind is Kind.ROOT and number > start:
            yield batch[start:number]
            start = number
    if start < len(batch):
        yield batch[start:]


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
