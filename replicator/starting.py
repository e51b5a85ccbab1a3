"""Where to begin, and writing down how far it went: positions, checked against both ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import trio

from replicator.actions import Position
from replicator.ends import End, holds, mark_of
from replicator.follower import Follower
from replicator.positions import Direction, Mark, Positions, Saved, Strange
from venti_store.score import Score

SAVE_SECONDS: Final = 1.0  # between two lines of a server.info file


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin. `restored` says which end was set back, so that all is asked for again."""

    position: Position
    last: int  # number of the last entry of the log
    restored: str = ""
    stranger: Position | None = None  # as `Follower.stranger` has it


async def start_of(
    direction: Direction,
    source: End,
    sink: End,
    positions: Positions,
    *,
    rescan: bool = False,
    accepts: str = "",
) -> Start:
    """Return where to begin in the log of `source` on its way into `sink`.

    `accepts` is a digest of whose names are accepted now: names that were refused when it was another
    are judged again.
    """
    about, into = await source.about(), await sink.about()
    nowhere = Position(about.store_id, 0, Score(bytes(source.family.size)))
    saved = positions.load(direction, about.store_id, into.store_id)
    if saved is None or rescan:
        return Start(nowhere, about.last)
    position, mark = saved.position, saved.into
    if not await holds(sink, mark.number, mark.score):
        return Start(nowhere, about.last, f"{sink.name} was set back to an older copy")
    if any(position.score) and not await holds(source, position.number, position.score):
        return Start(nowhere, about.last, f"{source.name} was set back to an older copy")
    if saved.strange is None:
        return Start(position, about.last)
    stranger = saved.strange.position
    if saved.strange.accepts == accepts:
        return Start(position, about.last, stranger=stranger)
    return Start(min(stranger, position, key=lambda p: p.number), about.last)


class Keeper:
    """Writes positions down, not more often than it must."""

    def __init__(
        self,
        direction: Direction,
        positions: Positions,
        sink: End,
        follower: Follower,
        accepts: str = "",
    ) -> None:
        """`accepts` is what `start_of` was told."""
        self._direction, self._positions, self._sink = direction, positions, sink
        self._follower, self._accepts = follower, accepts
        self._position: Position | None = None
        self._noted = trio.Event()

    def note(self, position: Position) -> None:
        """Take a position; it is written down by `run` or `save`."""
        self._position = position
        self._noted.set()

    async def run(self) -> None:
        """Write positions down for ever; a link with nothing new does not wake."""
        while True:
            await self._noted.wait()
            await trio.sleep(SAVE_SECONDS)
            self._noted = trio.Event()
            await self.save()

    async def save(self) -> None:
        """Write the last position down, if there is a new one."""
        position, self._position = self._position, None
        if position is not None:
            about, score = await mark_of(self._sink)
            mark = Mark(about.store_id, about.last, score)
            stranger = self._follower.stranger
            strange = None if stranger is None else Strange(stranger, self._accepts)
            self._positions.save(Saved(self._direction, position, mark, strange))
