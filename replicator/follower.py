"""Following a log, as a state machine without I/O.

Events are methods, named after what happened; `actions` gives what is to be done next, each once.
Actions may be carried out at the same time and end in any order. What holds throughout:

- Blocks are put in the order of the log, so that children come before parents, as they did there.
- A name is appended when every entry before it is settled and durable at the destination, no hole
  is open before it, and it was judged complete. Names keep their order.
- The position passes no entry that is not settled and durable, no open hole, and no name that is
  neither appended nor refused: who starts from it again misses nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Final, TypeVar

from replicator.actions import (
    Action,
    AppendNames,
    AskHave,
    Fetch,
    Judge,
    Judgement,
    Position,
    Put,
    ReadAgain,
    ReadLog,
    SavePosition,
    Sync,
)
from venti_store.interfaces import Key, LogRecord
from venti_store.kind import BLOCK_SIZE_MAX
from venti_store.score import Score

PAGE_ENTRIES: Final = 4096  # read in one request: 230 KiB on the wire
ENTRIES_AHEAD_MAX: Final = 4 * PAGE_ENTRIES  # read and not settled
CHUNK_BYTES: Final = 2 << 20  # fetched together, or one larger block
CHUNK_BLOCKS: Final = 256
HOLES_AT_ONCE: Final = 32  # fetched together: those that are still missing are asked for one by one
FETCHES_MAX: Final = 6  # under way
FETCHED_BYTES_MAX: Final = 24 << 20  # asked for and not put
SYNC_BYTES: Final = 64 << 20  # put without a sync: what an interruption may cost
SYNC_ENTRIES: Final = 1 << 14  # settled without a sync
NAMES_AT_ONCE: Final = 256
NAMES_MAX: Final = 4096  # names that wait; then the log is read no further
NAMES_BYTES_MAX: Final = 16 << 20  # likewise, with those read and not settled; and one page more
HOLES_MAX: Final = 1 << 16  # likewise


_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Entry:
    """An entry of the log; settled once its block is there, was put, or is a hole."""

    record: LogRecord
    before: Score  # of the entry before it
    settled: bool = False

    @property
    def key(self) -> Key:
        assert self.record.kind is not None, "a name has no key"
        return Key(self.record.score, self.record.kind)


@dataclass(frozen=True, slots=True)
class Hole:
    """A block that could not be had, at `number` of the log; `key` is None if not even that is known."""

    number: int
    before: Score
    key: Key | None
    size_max: int = BLOCK_SIZE_MAX  # bytes in the block
    judged: bool = False  # found below a name: what the destination says of having it is not enough


@dataclass(slots=True, eq=False)
class _Chunk:
    """Blocks that are fetched and put together: of entries, or those that holes wait for."""

    entries: list[_Entry]
    holes: list[Hole]
    size: int
    asked: bool = False
    missing: Collection[Key] | None = None  # None until it was fetched

    def keys(self) -> tuple[Key, ...]:
        holes = tuple(hole.key for hole in self.holes if hole.key is not None)
        return tuple(entry.key for entry in self.entries) + holes

    def sizes_max(self) -> tuple[int, ...]:
        holes = tuple(hole.size_max for hole in self.holes if hole.key is not None)
        return tuple(entry.record.size for entry in self.entries) + holes


class Follower:
    """The state of following one log from a position on."""

    def __init__(
        self, start: Position, *, until: int | None = None, stranger: Position | None = None
    ) -> None:
        """Begin behind `start`. With `until`, end behind that entry, else never.

        `stranger` is what the attribute of that name was when the log was followed up to `start`.
        """
        self.stranger = stranger
        """The position before the first name that was refused since nobody here knows its signer."""
        self._store_id = start.store_id
        self._until = until
        self._next, self._before = start.number + 1, start.score
        self._at_end = False
        self._settled = self._durable = self._saved = self._syncing_to = start
        # entries, from being read to being settled
        self._entries: deque[_Entry] = deque()
        self._to_ask: deque[_Entry] = deque()
        self._wanted: deque[_Entry] = deque()
        self._under_way: set[Key] = set()
        self._chunks: dict[int, _Chunk] = {}  # in the order of their numbers
        self._chunks_made = 0
        # what waits
        self._names: deque[_Entry] = deque()  # settled but for being appended
        self._names_bytes = 0  # in those, and in names among `_entries`
        self._holes: dict[Key | int, Hole] = {}
        self._by_number: list[tuple[int, int, Hole]] = []  # a heap; some are open no more
        self._holes_found = 0
        self._filling: deque[Hole] = deque()  # to be asked for again
        self._wanted_holes: deque[Hole] = deque()  # to be fetched
        self._again: deque[int] = deque()  # numbers of entries to be read again
        self._filled: list[Hole] = []  # and not yet durable
        self._dirty = False
        self._dirty_bytes = 0
        # what is under way
        self._reading = self._syncing = self._appending = False
        self._reading_again: int | None = None
        self._asked: list[_Entry] = []
        self._asked_holes: list[Hole] = []
        self._putting: int | None = None
        self._judging: list[_Entry] = []
        self._approved: list[_Entry] = []  # judged complete, to be appended
        self._filled_synced = 0  # of `_filled`, how many the sync under way is for

    # what is known

    @property
    def next_number(self) -> int:
        """The number of the entry that is read next."""
        return self._next

    @property
    def settled_number(self) -> int:
        """The number of the last entry up to which every block was put, is there, or is a hole."""
        return self._settled.number

    @property
    def hole_count(self) -> int:
        """How many holes are open."""
        return len(self._holes)

    @property
    def holes(self) -> list[Hole]:
        """The holes that are open, in the order they were found."""
        return list(self._holes.values())

    def waiting_names(self) -> list[tuple[LogRecord, bool]]:
        """Return the names that are not appended yet, and of each whether a hole is before it."""
        first = self._first_hole_number()
        return [(e.record, e.record.number >= first) for e in self._names]

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do but to wait for entries, or for holes to be filled."""
        moving = self._entries or self._again or self._fetching()
        at_destination = self._dirty or self._syncing or self._judging or self._approved
        return not (moving or self._reading_again or at_destination or self._due())

    @property
    def finished(self) -> bool:
        """Whether it has come behind `until`, and is idle."""
        return self._until is not None and self._next > self._until and self.idle

    def position(self) -> Position:
        """Return the position that passes nothing that is not done."""
        first = self._first_hole()
        held = [] if first is None else [(first.number, first.before)]
        if self._names:
            held.append((self._names[0].record.number, self._names[0].before))
        number, before = min(held, default=(self._durable.number + 1, self._durable.score))
        if number > self._durable.number:
            return self._durable
        return Position(self._store_id, number - 1, before)

    # events

    def read(self, records: Sequence[LogRecord], *, asked: int) -> None:
        """Take the answer to ReadLog for `asked` entries; fewer: the log ends here for now."""
        self._reading = False
        self._at_end = len(records) < asked
        if not records and self._until is not None:
            self._until = self._next - 1
        for record in records:
            entry = _Entry(record, self._before)
            self._entries.append(entry)
            self._next, self._before = record.number + 1, record.score
            if record.kind is not None:
                self._to_ask.append(entry)
            elif record.damaged:
                self._open_hole(Hole(record.number, entry.before, None))
                entry.settled = True
            self._names_bytes += len(record.data)
        self._advance()

    def read_again(self, record: LogRecord) -> None:
        """Take the answer to ReadAgain."""
        self._reading_again = None
        hole = self._holes.get(record.number)
        if record.damaged or hole is None:
            return
        del self._holes[record.number]
        if record.kind is not None:
            key = Key(record.score, record.kind)
            found = Hole(record.number, hole.before, key, record.size)
            self._open_hole(found)
            self._filling.append(found)
        else:
            at = sum(entry.record.number < record.number for entry in self._names)
            self._names.insert(at, _Entry(record, hole.before))
            self._names_bytes += len(record.data)

    def have(self, flags: Sequence[bool]) -> None:
        """Take the answer to AskHave: what is there already, in the order of the keys."""
        entries, holes = self._asked, self._asked_holes
        self._asked, self._asked_holes = [], []
        for entry, here in zip(entries, flags[: len(entries)], strict=True):
            if here or entry.key in self._under_way:  # of the latter another copy is coming
                entry.settled = True
            else:
                self._under_way.add(entry.key)
                self._wanted.append(entry)
        self._dirty |= any(flags)
        for hole, here in zip(holes, flags[len(entries) :], strict=True):
            (self._filled if here else self._wanted_holes).append(hole)
        self._advance()

    def fetched(self, chunk: int, missing: Collection[Key]) -> None:
        """Take the answer to Fetch: the blocks are here, but for `missing`."""
        self._chunks[chunk].missing = missing

    def put(self, chunk: int) -> None:
        """Note that what was fetched for `chunk` was given to the destination."""
        self._putting = None
        done = self._chunks.pop(chunk)
        missing = done.missing or ()
        for entry in done.entries:
            entry.settled = True
            self._under_way.discard(entry.key)
            if entry.key in missing:
                number, size_max = entry.record.number, entry.record.size
                self._open_hole(Hole(number, entry.before, entry.key, size_max))
            else:
                self._dirty_bytes += entry.record.size
                if entry.key in self._holes:
                    self._filled.append(self._holes[entry.key])
        self._filled += [hole for hole in done.holes if hole.key not in missing]
        self._dirty = True
        self._advance()

    def synced(self) -> None:
        """Note that what was there before the last Sync was asked for is durable."""
        self._syncing = False
        self._durable = self._syncing_to
        for hole in self._filled[: self._filled_synced]:
            if hole.key is not None:
                self._holes.pop(hole.key, None)
        del self._filled[: self._filled_synced]

    def judged(self, judgements: Sequence[Judgement]) -> None:
        """Take the answer to Judge. What is missing becomes a hole before its name."""
        entries, self._judging = self._judging, []
        for entry, judgement in zip(entries, judgements, strict=True):
            if judgement.refused or judgement.known:
                self._forget_name(entry)
                if judgement.stranger:
                    self._note_stranger(entry)
            elif not judgement.missing:
                self._approved.append(entry)
            else:
                number, before = entry.record.number, entry.before
                holes = [Hole(number, before, key, judged=True) for key in judgement.missing]
                for hole in holes:
                    self._open_hole(hole)
                self._wanted_holes.extend(holes)
                break

    def _forget_name(self, entry: _Entry) -> None:
        self._names.remove(entry)
        self._names_bytes -= len(entry.record.data)

    def _note_stranger(self, entry: _Entry) -> None:
        if self.stranger is None or entry.record.number <= self.stranger.number:
            self.stranger = Position(self._store_id, entry.record.number - 1, entry.before)

    def appended(self) -> None:
        """Note that the names of the last AppendNames are there, durably."""
        self._appending = False
        for entry in self._approved:
            self._forget_name(entry)
        self._approved = []

    def retry(self) -> None:
        """Try to fill the holes again: there may be somebody new to ask."""
        under_way = any(chunk.holes for chunk in self._chunks.values())
        waiting = self._filling or self._asked_holes or self._wanted_holes
        if under_way or waiting or self._again:
            return
        holes = list(self._holes.values())
        self._again.extend(hole.number for hole in holes if hole.key is None)
        self._filling.extend(hole for hole in holes if hole.key is not None and not hole.judged)
        self._wanted_holes.extend(hole for hole in holes if hole.judged)

    # actions

    def actions(self) -> list[Action]:
        """Return what is to be done now and was not given out before."""
        found = self._reads() + self._asks() + self._fetches() + self._puts()
        if self._must_sync():
            self._syncing, self._dirty, self._dirty_bytes = True, False, 0
            self._syncing_to, self._filled_synced = self._settled, len(self._filled)
            found.append(Sync())
        found += self._name_actions()
        position = self.position()
        if position.number > self._saved.number:
            self._saved = position
            found.append(SavePosition(position))
        return found

    def _reads(self) -> list[Action]:
        found: list[Action] = []
        if self._may_read():
            self._reading = True
            count, wait = PAGE_ENTRIES, self._at_end
            if self._until is not None:
                count, wait = min(count, self._until - self._next + 1), False
            before = self._before if self._next > 1 and any(self._before) else None
            found.append(ReadLog(self._next, before, count, wait))
        if self._again and self._reading_again is None:
            self._reading_again = self._again.popleft()
            found.append(ReadAgain(self._reading_again))
        return found

    def _may_read(self) -> bool:
        if self._reading or (self._until is not None and self._next > self._until):
            return False
        return (
            len(self._entries) < ENTRIES_AHEAD_MAX
            and len(self._names) < NAMES_MAX
            and self._names_bytes < NAMES_BYTES_MAX
            and len(self._holes) < HOLES_MAX
        )

    def _asks(self) -> list[Action]:
        if self._asked or self._asked_holes:
            return []
        while self._to_ask and len(self._asked) < PAGE_ENTRIES:
            self._asked.append(self._to_ask.popleft())
        while self._filling and len(self._asked_holes) < CHUNK_BLOCKS:
            self._asked_holes.append(self._filling.popleft())
        keys = [entry.key for entry in self._asked]
        keys += [hole.key for hole in self._asked_holes if hole.key is not None]
        return [AskHave(tuple(keys))] if keys else []

    def _fetches(self) -> list[Action]:
        while self._wanted_holes and self._may_fetch():
            holes, size = _take(self._wanted_holes, HOLES_AT_ONCE, lambda hole: hole.size_max)
            self._add_chunk(_Chunk([], holes, size))
        while self._wanted and self._may_fetch():
            entries, size = _take(self._wanted, CHUNK_BLOCKS, lambda entry: entry.record.size)
            self._add_chunk(_Chunk(entries, [], size))
        found: list[Action] = []
        for number, chunk in self._chunks.items():
            if not chunk.asked:
                chunk.asked = True
                found.append(Fetch(number, chunk.keys(), chunk.sizes_max()))
        return found

    def _may_fetch(self) -> bool:
        coming = sum(chunk.missing is None for chunk in self._chunks.values())
        size = sum(chunk.size for chunk in self._chunks.values())
        return coming < FETCHES_MAX and size < FETCHED_BYTES_MAX

    def _puts(self) -> list[Action]:
        number = next(iter(self._chunks), None)
        if number is None or self._putting is not None or self._chunks[number].missing is None:
            return []
        self._putting = number
        return [Put(number)]

    def _must_sync(self) -> bool:
        if self._syncing or not self._dirty:
            return False
        entries = self._settled.number - self._durable.number
        if self._dirty_bytes >= SYNC_BYTES or entries >= SYNC_ENTRIES:
            return True
        return not (self._entries or self._fetching())

    def _fetching(self) -> bool:
        """Whether blocks are on their way, or will be."""
        holes = self._filling or self._asked_holes or self._wanted_holes
        return bool(self._chunks or holes)

    def _name_actions(self) -> list[Action]:
        if self._approved and not self._appending:
            self._appending = True
            return [AppendNames(tuple(entry.record for entry in self._approved))]
        if self._judging or self._approved:
            return []
        self._judging = self._due()
        return [Judge(tuple(entry.record for entry in self._judging))] if self._judging else []

    def _due(self) -> list[_Entry]:
        """Return the first names of which everything before is durable, with no hole before them."""
        end = min(self._durable.number + 1, self._first_hole_number())
        due: list[_Entry] = []
        for entry in self._names:
            if entry.record.number >= end or len(due) == NAMES_AT_ONCE:
                break
            due.append(entry)
        return due

    def _first_hole(self) -> Hole | None:
        while self._by_number:
            hole = self._by_number[0][2]
            if self._holes.get(_name_of(hole)) is hole:
                return hole
            heappop(self._by_number)
        return None

    def _first_hole_number(self) -> float:
        first = self._first_hole()
        return inf if first is None else first.number

    def _open_hole(self, hole: Hole) -> None:
        there = self._holes.get(_name_of(hole))
        if there is None or hole.number < there.number:
            self._holes[_name_of(hole)] = hole
            self._holes_found += 1
            heappush(self._by_number, (hole.number, self._holes_found, hole))

    def _add_chunk(self, chunk: _Chunk) -> None:
        self._chunks[self._chunks_made] = chunk
        self._chunks_made += 1

    def _advance(self) -> None:
        """Take settled entries off the front; names go to those that wait to be appended."""
        while self._entries:
            entry = self._entries[0]
            if entry.record.kind is None and not entry.record.damaged:
                self._names.append(entry)
                self._dirty = True  # a sync is what brings them on
            elif not entry.settled:
                return
            self._entries.popleft()
            self._settled = Position(self._store_id, entry.record.number, entry.record.score)


def _take(queue: deque[_T], most: int, size_of: Callable[[_T], int]) -> tuple[list[_T], int]:
    """Take from the front of a queue what is fetched together, up to `most`; return also its bytes."""
    taken = [queue.popleft()]
    size = size_of(taken[0])
    while queue and len(taken) < most and size + size_of(queue[0]) <= CHUNK_BYTES:
        size += size_of(queue[0])
        taken.append(queue.popleft())
    return taken, size


def _name_of(hole: Hole) -> Key | int:
    """Return what a hole is known by: there is one for each block, and for each entry not read."""
    return hole.number if hole.key is None else hole.key
