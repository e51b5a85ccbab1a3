"""A store in memory: the interface in its simplest form, for tests and for trees in flight."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from venti_store.errors import HashMismatch
from venti_store.interfaces import Block, Key, LogEntry, LogRecord
from venti_store.kind import Kind
from venti_store.score import BLAKE3, Buffer, Family, Score
from venti_store.stores.accept import acceptable, acceptable_name
from venti_store.stores.messages import corrupt_block, no_such_block

if TYPE_CHECKING:
    import trio


class MemoryStore:
    """Blocks and name records in a dict and a list; nothing is durable, nothing bounded."""

    at_once = True

    def __init__(self, family: Family = BLAKE3, *, store_id: str = "memory") -> None:
        self.family = family
        self.store_id = store_id
        self.blocks: dict[tuple[Score, Kind | None], bytes] = {}
        self._log: list[tuple[Score, Kind | None]] = []
        self._numbers: dict[tuple[Score, Kind | None], int] = {}
        self._grown: "trio.lowlevel.ParkingLot | None" = None  # noqa: UP037  imported when used

    async def get_many(self, keys: Sequence[Key]) -> list[bytes]:
        return [self._get(key) for key in keys]

    async def have_many(self, keys: Sequence[Key]) -> list[bool]:
        return [key in self.blocks or self._is_nothing(key.score) for key in keys]

    async def put_many(self, blocks: Sequence[Block]) -> None:
        for block in acceptable(blocks, self.family):
            self._append((block.score, block.kind), bytes(block.data))

    async def sync(self) -> None:
        return

    async def aclose(self) -> None:
        return

    async def append_name(self, data: Buffer) -> int:
        """Append a name record and return its number in the log; one that is there has its own."""
        return (await self.append_names([data]))[0]

    async def append_names(self, records: Sequence[Buffer]) -> list[int]:
        """Append several in this order and return their numbers."""
        numbers = []
        for record in list(map(acceptable_name, records)):
            key = (self.family.score(record), None)
            self._append(key, record)
            numbers.append(self._numbers[key])
        return numbers

    @contextmanager
    def views(self, keys: Sequence[Key]) -> Iterator[Sequence[Buffer]]:
        yield [self._get(key) for key in keys]

    def log(self, start: int = 1) -> Iterator[LogRecord]:
        number = max(start, 1)
        while number <= len(self._log):
            score, kind = self._log[number - 1]
            data = self.blocks[score, kind]
            yield LogRecord(number, kind, score, data, len(data))
            number += 1

    def names(self, start: int = 1) -> Iterator[LogRecord]:
        return (record for record in self.log(start) if record.kind is None)

    def entries(self, start: int = 1) -> Iterator[LogEntry]:
        for number, kind, score, _, size in self.log(start):
            yield LogEntry(number, kind, score, size, size)

    def last_number(self) -> int:
        """Return the number of the last log entry, 0 when there is none."""
        return len(self._log)

    async def have_names(self, scores: Sequence[Score]) -> list[bool]:
        """Tell of each score whether the log has the name record with it."""
        return [(score, None) in self.blocks for score in scores]

    async def wait_log(self, number: int) -> None:
        """Return when the log has an entry `number`."""
        import trio

        if self._grown is None:
            self._grown = trio.lowlevel.ParkingLot()
        while len(self._log) < number:
            await self._grown.park()

    def _append(self, key: tuple[Score, Kind | None], data: bytes) -> None:
        if key in self.blocks and self.family.score(self.blocks[key]) != key[0]:
            self.blocks[key] = data
        elif key not in self.blocks:
            self.blocks[key] = data
            self._log.append(key)
            self._numbers[key] = len(self._log)
            if self._grown is not None:
                self._grown.unpark_all()

    def _get(self, key: Key) -> bytes:
        if self._is_nothing(key.score):
            return b""
        data = self.blocks.get(key)
        if data is None:
            raise no_such_block(key.score, key.kind, "memory")
        if self.family.score(data) != key.score:
            raise corrupt_block(key.score, key.kind, "memory", "bytes do not match the score")
        return data

    def _is_nothing(self, score: Score) -> bool:
        if len(score) != self.family.size:
            raise HashMismatch(f"{score.hex()}: not a {self.family.name} score")
        return self.family.is_nothing(score)
