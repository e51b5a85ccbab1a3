"""One link to one peer, in one direction, for ever: connect, follow, back off, begin again.

Whatever goes wrong with the peer ends a turn of this loop and nothing else.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import trio

from lib9.errors import SpawngridError, single_error
from replicator.actions import Position
from replicator.backoff import Backoff
from replicator.board import Board
from replicator.ends import LocalLog, LocalStore, RemoteLog
from replicator.follower import Follower
from replicator.following import Following, Hooks, Progress
from replicator.judging import Honest, Judge
from replicator.positions import Direction, Positions
from replicator.starting import Keeper, Start, start_of
from venti_store.copying import check_same_hash
from venti_store.errors import LogDiverged
from venti_store.stores.remote import RemoteStore

RETRY_SECONDS: Final = 30.0  # between attempts to fill holes when nobody says that there is news

log = logging.getLogger("replicate")


class LinkState(StrEnum):
    """What a link does now."""

    CONNECTING = "connecting"
    FOLLOWING = "following"  # there is more to get than was got
    CURRENT = "current"  # nothing more to get
    WAITING = "waiting"  # for the next attempt, after a failure


@dataclass(slots=True)
class LinkStatus:
    """How a link is doing."""

    peer: str
    direction: Direction
    address: str
    state: LinkState = LinkState.CONNECTING
    store_id: str = ""  # whose log is followed
    position: int = 0
    last: int = 0
    blocks: int = 0
    size: int = 0
    names: int = 0
    refused: int = 0
    refusals: list[str] = field(default_factory=list)
    failures: int = 0  # in a row
    failure: str = ""  # the last one
    rescans: int = 0  # the log had to be gone over again: a store was restored from an older copy
    behind_since: float | None = None  # in the clock of the loop
    retry_at: float | None = None


Open = Callable[[], Awaitable[RemoteStore]]


class Link:
    """Follows one log for as long as it runs."""

    def __init__(
        self,
        peer: str,
        direction: Direction,
        address: str,
        open_peer: Open,
        local: LocalStore,
        positions: Positions,
        judge: Judge,
        board: Board,
        *,
        accepts: Callable[[], str] = str,
        chance: Callable[[], float] = random.random,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """`accepts` is a digest of whose names are accepted, now."""
        self.status = LinkStatus(peer, direction, address)
        self.following: Following | None = None
        self._peer, self._direction = peer, direction
        self._open = open_peer
        self._local, self._positions, self._judge = local, positions, judge
        self._board = board
        self._backoff = Backoff(chance)
        self._retry_seconds = retry_seconds
        self._name = f"{peer} {direction}"
        self._rescan = False
        self._accepts, self._accepted = accepts, ""
        self._this_turn = trio.CancelScope()

    async def run(self) -> None:
        """Follow for ever; raises nothing but what cancels it."""
        while True:
            with trio.CancelScope() as self._this_turn:
                await self._one_turn()
            if self._this_turn.cancelled_caught:
                continue
            seconds = self._backoff.failed()
            self.status.retry_at = trio.current_time() + seconds
            await trio.sleep(seconds)
            self.status.retry_at = None

    def judge_again(self) -> None:
        """Begin anew where names were refused, if others are accepted now than when they were."""
        strange = self.following is not None and self.following.follower.stranger is not None
        if strange and self._accepts() != self._accepted:
            self._this_turn.cancel()

    async def _one_turn(self) -> None:
        try:
            await self._turn()
        except BaseExceptionGroup as raised:
            cancelled, failed = raised.split(trio.Cancelled)
            if cancelled is not None:
                raise cancelled from None  # what else failed then is no matter any more
            self._failed(single_error(failed or raised))
        except Exception as error:  # noqa: BLE001  one link is no matter of the others
            self._failed(error)
        finally:
            self._board.left(self._name)
            self.following = None

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup) or not isinstance(error, SpawngridError | OSError):
            log.error("%s: unexpected", self._name, exc_info=error)
        if isinstance(error, LogDiverged):
            self._rescan = True
            self._backoff.worked()
        status = self.status
        status.failures += 1
        if str(error) != status.failure:
            log.warning("%s: %s", self._name, error)
        status.failure = str(error) or repr(error)
        status.state = LinkState.WAITING
        self._note_behind(behind=True)

    async def _turn(self) -> None:
        self.status.state = LinkState.CONNECTING
        remote = await self._open()
        try:
            check_same_hash(remote, self._local)
            await self._follow(remote)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await remote.aclose()

    async def _follow(self, remote: RemoteStore) -> None:
        here, there = LocalLog(self._local), RemoteLog(remote)
        pull = self._direction is Direction.PULL
        source, sink = (there, here) if pull else (here, there)
        self._accepted = self._accepts() if pull else ""
        start = await self._start(source, sink)
        self.status.store_id = start.position.store_id
        self.status.position = start.position.number
        follower = Follower(start.position, stranger=start.stranger)
        keeper = Keeper(self._direction, self._positions, sink, follower, self._accepted)

        def reached(position: Position) -> None:
            keeper.note(position)
            self._position(position)

        hooks = Hooks(on_position=reached, on_change=self._changed)
        if pull:
            hooks.on_entries = lambda records: self._board.seen_at(self._peer, records)
            hooks.on_blocks = lambda: self._board.have_more(self._name)
        else:
            hooks.on_names = lambda names: self._board.seen_at(self._peer, names)
        self.following = Following(
            source,
            self._local if pull else remote,
            follower,
            self._judge if pull else Honest(),
            others=lambda: self._board.others(self._name),
            hooks=hooks,
        )
        self._board.arrived(self._name, self._peer, remote, self.following.news)
        self.status.state = LinkState.FOLLOWING
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            nursery.start_soon(self._retry_holes, self.following)
            await self.following.run()

    async def _start(self, source: LocalLog | RemoteLog, sink: LocalLog | RemoteLog) -> Start:
        start = await start_of(
            self._direction, source, sink, self._positions,
            rescan=self._rescan, accepts=self._accepted,
        )  # fmt: skip
        self.status.last = start.last
        if start.restored:
            log.warning("%s: %s: asking for everything again", self._name, start.restored)
        if start.restored or self._rescan:
            self.status.rescans += 1
        self._rescan = False
        return start

    def _position(self, position: Position) -> None:
        self.status.position = position.number
        self._backoff.worked()

    async def _retry_holes(self, following: Following) -> None:
        while True:
            await trio.sleep(self._retry_seconds * random.uniform(0.5, 1))
            following.retry()

    def _changed(self, progress: Progress) -> None:
        status = self.status
        status.blocks, status.size, status.names = progress.blocks, progress.size, progress.names
        status.refused, status.refusals = progress.refused_count, list(progress.refused)
        status.last = max(status.last, progress.last)
        if progress.caught_up:
            self._backoff.worked()
            status.failures, status.failure = 0, ""
        current = progress.caught_up and status.position >= status.last
        status.state = LinkState.CURRENT if current else LinkState.FOLLOWING
        self._note_behind(behind=not current)

    def _note_behind(self, *, behind: bool) -> None:
        if not behind:
            self.status.behind_since = None
        elif self.status.behind_since is None:
            self.status.behind_since = trio.current_time()
