"""What a follower wants done, and what it is told of a name. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from venti_store.interfaces import Key, LogRecord
from venti_store.score import Score


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log was followed: all up to the entry `number` is taken care of.

    `score` is that entry's, by which a store that was restored from an older copy is noticed; it is
    all zeros where the entry could not be read. `number` 0: nothing yet.
    """

    store_id: str
    number: int
    score: Score


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Read entries without the bytes of blocks; with `wait`, not before there are any."""

    start: int
    before: Score | None
    count: int
    wait: bool


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Read one entry that could not be read before."""

    number: int


@dataclass(frozen=True, slots=True)
class AskHave:
    """Ask the destination which of these it has."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get these blocks, verified, and keep them for the `Put` of the same number.

    None may have more bytes than the log said, `sizes_max` in the order of the keys.
    """

    chunk: int
    keys: tuple[Key, ...]
    sizes_max: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Put:
    """Give the destination what was fetched for this chunk."""

    chunk: int


@dataclass(frozen=True, slots=True)
class Sync:
    """Make all that was put, or was there already, durable at the destination."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Say of each of these names whether all its blocks are at the destination."""

    names: tuple[LogRecord, ...]


@dataclass(frozen=True, slots=True)
class AppendNames:
    """Append these names at the destination, in this order, durably."""

    names: tuple[LogRecord, ...]


@dataclass(frozen=True, slots=True)
class SavePosition:
    """Remember the position: whoever starts from it misses nothing."""

    position: Position


Action = ReadLog | ReadAgain | AskHave | Fetch | Put | Sync | Judge | AppendNames | SavePosition


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of a name: complete where nothing is `missing`, or not to be trusted, and why.

    `known`: the destination has it already. `stranger`: refused since nobody here knows its signer,
    which may change.
    """

    missing: tuple[Key, ...] = ()
    refused: str = ""
    known: bool = False
    stranger: bool = False
