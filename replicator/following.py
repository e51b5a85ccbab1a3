"""Following one log into one store: carries out what a Follower wants, as far as it can at a time.

Ends with the first failure of either end; whoever begins again does so from the last position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import trio

from lib9.faults import fault
from replicator import actions
from replicator.actions import Action, Judgement, Position
from replicator.fetching import fetch, fetch_elsewhere
from replicator.follower import Follower
from replicator.interfaces import Destination, KnowsNames, Source
from venti_store.halving import GetMany
from venti_store.interfaces import Block, Key, LogRecord

HOLES_NEWS_MAX: Final = 256
WAIT_SECONDS: Final = 10.0  # for new entries; a peer that says nothing for longer is gone


class Judging(Protocol):
    """Says of names whether they may be appended."""

    async def judge(self, names: Sequence[LogRecord]) -> list[Judgement]: ...


@dataclass(slots=True)
class Progress:
    """What was done so far; `entries_last` is the end of the log as it was last seen."""

    blocks: int = 0  # put
    size: int = 0  # bytes in them
    known: int = 0  # blocks that were there already
    names: int = 0  # appended
    refused: list[str] = field(default_factory=list)  # why names were, the last REFUSED_MAX
    refused_count: int = 0
    number: int = 0  # of the entry that was read last
    settled: int = 0  # number of the entry up to which blocks are put, or known to be there
    last: int = 0  # number of the last entry there is, as far as is known
    caught_up: bool = False  # at the end of the log, with all there is done


REFUSED_MAX: Final = 32


def _nothing(*_: object) -> None:
    return


@dataclass(slots=True)
class Hooks:
    """Who wants to know what: called in the loop, may not wait."""

    on_position: Callable[[Position], None] = _nothing
    on_change: Callable[[Progress], None] = _nothing
    on_entries: Callable[[Sequence[LogRecord]], None] = _nothing  # the source has these
    on_names: Callable[[Sequence[LogRecord]], None] = _nothing  # the destination has these
    on_blocks: Callable[[], None] = _nothing  # the destination has more blocks, durably


class Following:
    """One log on its way into one store."""

    def __init__(
        self,
        source: Source,
        destination: Destination,
        follower: Follower,
        judge: Judging,
        *,
        others: Callable[[], Sequence[GetMany]] = tuple,
        hooks: Hooks | None = None,
        names: bool = True,
    ) -> None:
        """`others` may have what the source lacks. Without `names`, none are appended."""
        self.follower = follower
        self.progress = Progress()
        self._source, self._destination = source, destination
        self._judge, self._others = judge, others
        self._hooks = hooks or Hooks()
        self._with_names = names
        self._fetched: dict[int, dict[Key, bytes]] = {}
        self._news = trio.Event()

    async def run(self) -> None:
        """Follow until the follower is finished. Raises what either end raises."""
        async with trio.open_nursery() as nursery:
            while not self.follower.finished:
                for action in self.follower.actions():
                    if isinstance(action, actions.SavePosition):
                        self._hooks.on_position(action.position)
                    else:
                        nursery.start_soon(self._carry_out, action)
                self.progress.caught_up = self.follower.idle
                self.progress.settled = self.follower.settled_number
                self._hooks.on_change(self.progress)
                await self._news.wait()
                self._news = trio.Event()
            for action in self.follower.actions():
                if isinstance(action, actions.SavePosition):
                    self._hooks.on_position(action.position)
            self.progress.caught_up = True
            self._hooks.on_change(self.progress)

    def news(self) -> None:
        """Try the holes again, since somebody has more blocks; not if they are many.

        Whoever is asked for a block that he lacks is asked for each of its chunk by itself: many
        holes are asked for again at times, not as often as anything happens anywhere.
        """
        if self.follower.hole_count <= HOLES_NEWS_MAX:
            self.retry()

    def retry(self) -> None:
        """Try the holes again."""
        if self.follower.hole_count:
            self.follower.retry()
            self._news.set()

    async def _carry_out(self, action: Action) -> None:
        match action:
            case actions.ReadLog():
                await self._read(action)
            case actions.ReadAgain(number):
                found = await self._source.read(number, 1, None, 0)
                if found:
                    self.follower.read_again(found[0])
            case actions.AskHave(keys):
                flags = await self._destination.have_many(keys)
                self.progress.known += sum(flags)
                self.follower.have(flags)
            case actions.Fetch():
                await self._fetch(action)
            case actions.Put(chunk):
                await self._put(chunk)
            case actions.Sync():
                fault("replicate.before-sync")
                await self._destination.sync()
                fault("replicate.synced")
                self.follower.synced()
                self._hooks.on_blocks()
            case actions.Judge(names):
                if self._with_names:
                    self._judged(await self._judge_new(names))
                else:
                    self.follower.judged(
                        [Judgement(refused="names are not kept there")] * len(names)
                    )
            case actions.AppendNames(names):
                await self._destination.append_names([name.data for name in names])
                fault("replicate.named")
                self.progress.names += len(names)
                self.follower.appended()
                self._hooks.on_names(names)
        self._news.set()

    async def _read(self, action: actions.ReadLog) -> None:
        wait_seconds = WAIT_SECONDS if action.wait else 0.0
        records = await self._source.read(action.start, action.count, action.before, wait_seconds)
        fault("replicate.read")
        if records:
            self.progress.number = records[-1].number
        self.progress.last = max(self.progress.last, self.progress.number)
        self._hooks.on_entries(records)
        self.follower.read(records, asked=action.count)

    async def _fetch(self, action: actions.Fetch) -> None:
        sizes_max = dict(zip(action.keys, action.sizes_max, strict=True))
        found = await fetch(partial(self._source.get_many, sizes_max=sizes_max), action.keys)
        missing = {key: size for key, size in sizes_max.items() if key not in found}
        if missing and (others := self._others()):
            found |= await fetch_elsewhere(others, missing)
        fault("replicate.fetched")
        self._fetched[action.chunk] = found
        self.follower.fetched(action.chunk, missing.keys() - found.keys())

    async def _put(self, chunk: int) -> None:
        found = self._fetched.pop(chunk)
        blocks = [Block(key.score, key.kind, data) for key, data in found.items()]
        await self._destination.put_many(blocks)
        fault("replicate.put")
        self.progress.blocks += len(blocks)
        self.progress.size += sum(len(block.data) for block in blocks)
        self.follower.put(chunk)

    async def _judge_new(self, names: Sequence[LogRecord]) -> list[Judgement]:
        """Judge the names that the destination does not have."""
        known = [False] * len(names)
        if isinstance(self._destination, KnowsNames):
            known = await self._destination.have_names([name.score for name in names])
        new = [name for name, there in zip(names, known, strict=True) if not there]
        judged = iter(await self._judge.judge(new) if new else ())
        found = [Judgement(known=True) if there else next(judged) for there in known]
        self._hooks.on_names([name for name, there in zip(names, known, strict=True) if there])
        return found

    def _judged(self, judgements: Sequence[Judgement]) -> None:
        for judgement in judgements:
            if judgement.refused:
                self.progress.refused_count += 1
                self.progress.refused.append(judgement.refused)
                del self.progress.refused[:-REFUSED_MAX]
        self.follower.judged(judgements)
