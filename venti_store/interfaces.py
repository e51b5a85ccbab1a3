"""What a holder of blocks promises, and nothing of how it keeps them.

The functions are async because a store may be far away; those of stores on this machine never
suspend outside trio, so that programs without an event loop may use `lib9.waiting.run_now`.
Every implementation passes tests/contracts/block_store.py.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, runtime_checkable

from venti_store.kind import Kind
from venti_store.score import Buffer, Family, Score


class Key(NamedTuple):
    """What names a block in a store."""

    score: Score
    kind: Kind


class Block(NamedTuple):
    """A block: its bytes, already zero-truncated, and the key that follows from them."""

    score: Score
    kind: Kind
    data: Buffer


class BlockReader(Protocol):
    """Reads by score; whatever it returns hashes to what was asked for."""

    family: Family

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        """Return the blocks named by `keys`, in that order, each verified against its score.

        The score of nothing (and all zeros) gives b"" without any I/O. Raises for the first that
        fails: NoSuchBlock, CorruptBlock, Unreachable.
        """
        ...

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        """Tell of each key whether the block is here; does not read or verify the block."""
        ...


class BlockWriter(Protocol):
    """Takes blocks; they are on stable storage after `sync`, not before."""

    family: Family

    async def put_many(self, blocks: Sequence[Block]) -> None:
        """Take blocks; what is there already is not stored twice. May wait for room in a queue.

        The buffers may be reused after return. Empty blocks are dropped. Raises BlockTooLarge,
        StoreFull; a failed put may be reported by a later call, at the latest by `sync`.
        """
        ...

    async def sync(self) -> None:
        """Return when every block put before this call is on stable storage; else raise why not."""
        ...


class BlockStore(BlockReader, BlockWriter, Protocol):
    """Reads and writes, until it is closed."""

    async def aclose(self) -> None:
        """Sync and let go of everything; harmless when repeated."""
        ...


class BlockViews(Protocol):
    """An optional power of stores on this machine: blocks as they lie in memory, without a copy."""

    def views(self, keys: Sequence[Key]) -> AbstractContextManager[Sequence[Buffer]]:
        """Give verified blocks that are valid inside the `with` only; no await may lie inside.

        Raises as `BlockReader.get_many` does.
        """
        ...


@runtime_checkable
class MayBeAway(Protocol):
    """An optional power of stores behind connections: to say how that is, without asking."""

    @property
    def trouble(self) -> str:
        """Why nobody answers, as far as is known; empty while there is a connection."""
        ...


@runtime_checkable
class AtOnce(Protocol):
    """An optional power of stores on this machine: if `at_once`, reads never wait for anybody."""

    @property
    def at_once(self) -> bool: ...


@runtime_checkable
class HasCache(Protocol):
    """An optional power of stores with a cache: how many of the blocks read it had."""

    @property
    def hits(self) -> int: ...


class BlockSink(Protocol):
    """Takes finished blocks without waiting; tree builders write to it."""

    family: Family

    def put(self, kind: Kind, data: Buffer) -> Score:
        """Take a zero-truncated block and return its score; of nothing, the score of nothing."""
        ...


class Batch:
    """A BlockSink that collects blocks until their owner hands them to a store."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.blocks: list[Block] = []
        self.size = 0  # bytes in `blocks`

    def put(self, kind: Kind, data: Buffer) -> Score:
        if not data:
            return self.family.nothing
        score = self.family.score(data)
        self.blocks.append(Block(score, kind, data))
        self.size += len(data)
        return score

    def take(self) -> list[Block]:
        """Return the blocks collected so far and forget them."""
        blocks, self.blocks, self.size = self.blocks, [], 0
        return blocks


class LogRecord(NamedTuple):
    """An entry of a store's log: a block (`kind` set, `data` its bytes) or a name record.

    `size` is that of the bytes, also where `data` was not asked for and is empty.
    """

    number: int
    kind: Kind | None
    score: Score
    data: bytes
    size: int

    @property
    def damaged(self) -> bool:
        """Whether the store could not even say what the entry was. Only servers tell of such."""
        return self.kind is None and not self.data


class LogEntry(NamedTuple):
    """What a log entry says of itself, unverified. `stored` is its bytes in the log, header and all."""

    number: int
    kind: Kind | None
    score: Score
    size: int
    stored: int


@runtime_checkable
class LogReader(Protocol):
    """An optional power: the store's blocks and name records in the order they were appended."""

    def log(self, start: int = 1) -> Iterator[LogRecord]:
        """Give the entries from number `start` on, to the end as it is when reached.

        All verified. CorruptBlock at one that is missing or has no good copy: ask again from the
        number after it.
        """
        ...


class LogStore(LogReader, Protocol):
    """A LogReader of which positions can be remembered, and which takes name records."""

    store_id: str  # random, given when the store was made; a copy of the store has the same

    def last_number(self) -> int:
        """Return the number of the last entry committed, 0 when there is none."""
        ...

    def entries(self, start: int = 1) -> Iterator[LogEntry]:
        """Give what the entries from number `start` on say of themselves; blocks are not read."""
        ...

    def names(self, start: int = 1) -> Iterator[LogRecord]:
        """Give the name records from number `start` on; what lies between them costs nothing.

        Raises as `log` does; a record that was appended again after damage comes twice.
        """
        ...

    async def append_name(self, data: Buffer) -> int:
        """Append a name record behind all blocks put before, sync, and return its number.

        A record that is there already keeps its number. BlockTooLarge beyond 1 to 16384 bytes.
        """
        ...

    async def append_names(self, records: Sequence[Buffer]) -> list[int]:
        """Append several in this order, as `append_name` does, with one sync; return their numbers."""
        ...

    async def have_names(self, scores: Sequence[Score]) -> list[bool]:
        """Tell of each score whether the log has the name record with it."""
        ...

    async def wait_log(self, number: int) -> None:
        """Return when the log has an entry `number`, whoever appends it; within trio only."""
        ...
