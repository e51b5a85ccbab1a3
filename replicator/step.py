"""One step of replication: what one store has and the other lacks, and then it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from lib9.errors import single_error
from replicator.ends import ClassicEnd, End, LocalLog, RemoteLog
from replicator.follower import Follower, Hole
from replicator.following import Following, Hooks, Judging, Progress
from replicator.positions import Direction, Positions
from replicator.starting import Keeper, start_of
from venti_store.copying import Copied, check_same_hash, copy_trees
from venti_store.errors import LogDiverged
from venti_store.interfaces import LogRecord
from venti_store.score import Score


@dataclass(slots=True)
class Outcome:
    """What a step did, and what it left undone."""

    progress: Progress = field(default_factory=Progress)
    holes: Sequence[Hole] = ()
    waiting: Sequence[LogRecord] = ()  # names behind holes
    restored: str = ""  # which end had been set back to an older copy
    position: int = 0
    last: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing was left undone."""
        return not (self.holes or self.waiting or self.progress.refused_count)


async def follow_once(
    direction: Direction,
    source: End,
    sink: End,
    positions: Positions,
    judge: Judging,
    *,
    rescan: bool = False,
    accepts: str = "",
    on_change: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Bring what the log of `source` has, up to its end as it is now, into `sink`.

    `accepts` is as `start_of` has it. The position is written down about every second, and at the
    end. Raises HashMismatch, StoreError for a source without a log, and what the stores raise.
    """
    check_same_hash(source.store, sink.store)
    restored = ""
    while True:
        start = await start_of(direction, source, sink, positions, rescan=rescan, accepts=accepts)
        follower = Follower(start.position, until=start.last, stranger=start.stranger)
        keeper = Keeper(direction, positions, sink, follower, accepts)
        try:
            outcome = await _follow(follower, start.last, source, sink, keeper, judge, on_change)
        except BaseExceptionGroup as raised:
            if rescan or not isinstance(single_error(raised), LogDiverged):
                raise
            restored, rescan = f"{source.name} was set back to an older copy", True
            continue
        outcome.restored = restored or start.restored
        return outcome


async def _follow(
    follower: Follower,
    last: int,
    source: End,
    sink: End,
    keeper: Keeper,
    judge: Judging,
    on_change: Callable[[Progress], None],
) -> Outcome:
    following = Following(
        source, sink.store, follower, judge,
        hooks=Hooks(on_position=keeper.note, on_change=on_change),
        names=not isinstance(sink, ClassicEnd),
    )  # fmt: skip
    following.progress.last = last
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        try:
            await following.run()
        finally:
            nursery.cancel_scope.cancel()
    await keeper.save()
    waiting = [record for record, _ in follower.waiting_names()]
    return Outcome(
        following.progress, follower.holes, waiting, "", follower.position().number, last
    )


async def copy_roots(
    source: ClassicEnd | LocalLog | RemoteLog,
    sink: End,
    roots: Sequence[Score],
    on_change: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Bring the trees of `roots` from a store without a log into `sink`, by walking them."""
    outcome = Outcome()

    def changed(copied: Copied) -> None:
        progress = outcome.progress
        progress.blocks, progress.size, progress.known = copied.blocks, copied.size, copied.known
        on_change(progress)

    zeros = Score(bytes(source.family.size))
    holes: list[Hole] = []
    copied = Copied(on_change=changed)
    await copy_trees(
        source.store, sink.store, roots, on_hole=lambda key, _: holes.append(Hole(0, zeros, key)),
        copied=copied,
    )  # fmt: skip
    changed(copied)
    outcome.holes = holes
    return outcome
