"""What is remembered between two runs, and the text it has in a server.info file. Pure.

A position alone would not do: the store that got the blocks may have been restored from an older
copy, too. So it stands beside a mark of that store's own log, and counts only while that holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from ndbdb.parser import pair_text
from ndbdb.record import Pair, Record
from replicator.actions import Position
from venti_store.score import Score

_SCORE_SIZES: Final = (20, 32)


class Direction(StrEnum):
    """Whose log is followed: the peer's, or ours."""

    PULL = "pull"
    PUSH = "push"


@dataclass(frozen=True, slots=True)
class Mark:
    """The store that a position was written for: its log holds an entry `number` with that score."""

    store_id: str
    number: int
    score: Score


@dataclass(frozen=True, slots=True)
class Strange:
    """Names behind `position` were refused, since their signers were not among those in `accepts`.

    When others are accepted, following begins there again.
    """

    position: Position
    accepts: str  # a digest


@dataclass(frozen=True, slots=True)
class Saved:
    """How far the log of one store was followed into another. `into` has number 0 of a classic venti,
    whose `store_id` is its address.
    """

    direction: Direction
    position: Position
    into: Mark
    strange: Strange | None = None


class Positions(Protocol):
    """Keeps positions."""

    def load(self, direction: Direction, store_id: str, into: str) -> Saved | None:
        """Return the last position in the log of `store_id` on its way into the store `into`."""
        ...

    def save(self, saved: Saved) -> None: ...


class MemoryPositions:
    """Positions that end with the process."""

    def __init__(self) -> None:
        self.saved: dict[tuple[Direction, str, str], Saved] = {}

    def load(self, direction: Direction, store_id: str, into: str) -> Saved | None:
        return self.saved.get((direction, store_id, into))

    def save(self, saved: Saved) -> None:
        self.saved[saved.direction, saved.position.store_id, saved.into.store_id] = saved


def line_of(saved: Saved) -> str:
    """Return the record of a position, one line."""
    pairs = [
        (saved.direction, saved.position.store_id),
        ("number", str(saved.position.number)),
        ("score", saved.position.score.hex()),
        ("into", saved.into.store_id),
        ("mark", str(saved.into.number)),
        ("markscore", saved.into.score.hex()),
    ]
    if saved.strange is not None:
        pairs += [
            ("strange", str(saved.strange.position.number)),
            ("strangescore", saved.strange.position.score.hex()),
            ("accepts", saved.strange.accepts),
        ]
    return " ".join(pair_text(Pair(attr, value)) for attr, value in pairs) + "\n"


@dataclass(slots=True)
class Info:
    """What a server.info file says. Of several values the last one counts.

    `venti` is the peer's address; `roots` are what to copy from a peer that has no log. Offsets of
    arenas, which the files of Plan 9's ventiprog have, mean nothing to a log and are passed over.
    """

    venti: str
    roots: tuple[str, ...]
    positions: dict[tuple[Direction, str, str], Saved]


def read_info(records: Iterable[Record]) -> Info:
    """Return what the records of a server.info file say; records that make no sense say nothing."""
    info = Info("", (), {})
    for record in records:
        pairs = [(pair.attr, pair.value) for pair in record.pairs()]
        for attr, value in pairs:
            if attr == "venti":
                info.venti = value
            elif attr == "root":
                info.roots += (value,)
        if (saved := _saved(dict(pairs))) is not None:
            key = (saved.direction, saved.position.store_id, saved.into.store_id)
            info.positions[key] = saved
    return info


def _saved(values: dict[str, str]) -> Saved | None:
    direction = next((d for d in Direction if values.get(d)), None)
    if direction is None:
        return None
    try:
        position = Position(
            values[direction], int(values["number"]), Score(bytes.fromhex(values["score"]))
        )
        into = Mark(values["into"], int(values["mark"]), Score(bytes.fromhex(values["markscore"])))
        strange = _strange(values, position.store_id) if "strange" in values else None
    except (KeyError, ValueError):
        return None
    sound = {len(position.score), len(into.score)} <= set(_SCORE_SIZES)
    return (
        Saved(direction, position, into, strange)
        if sound and position.number >= 0 <= into.number
        else None
    )


def _strange(values: dict[str, str], store_id: str) -> Strange:
    score = Score(bytes.fromhex(values["strangescore"]))
    if len(score) not in _SCORE_SIZES:
        raise ValueError("not a score")
    return Strange(Position(store_id, int(values["strange"]), score), values["accepts"])
