"""`snap`, `snaptime`, `snapclean`: snapshots by hand and by the clock."""

import logging
from typing import Final

import trio

from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.saving import save, take_over
from fossil_fs.mounting.schedule import (
    Schedule,
    change,
    is_expired,
    is_snapshot_minute,
    last_archive_ns,
    minute_name,
    minutes,
)
from fossil_fs.mounting.word import Answer, Word, refuse_arguments
from fossil_fs.scratch.history import Epoch
from fossil_fs.scratch.journal import put
from fossil_fs.scratch.records import pack_number, state_key, unpack_number
from lib9.errors import SpawngridError, UsageError
from venti_store.score import format_score

_SCHEDULE: Final = state_key(b"snaptime")
_ARCHIVED: Final = state_key(b"archived")  # when the schedule last had its archival snapshot
_TICK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 60.0  # from an archival snapshot that failed to the next try

log = logging.getLogger(__name__)


async def _snap(mounted: Mounted, said: list[str]) -> Answer:
    if said == ["-a"]:
        return Answer(text=format_score(await save(mounted)))
    refuse_arguments("snap", said)
    await take_over(mounted)
    epoch = snapshot(mounted)
    if mounted.background is not None:
        mounted.background.start_soon(_commit, mounted)
    return Answer(text=f"snapshot/{epoch.name.decode()}")


def snapshot(mounted: Mounted) -> Epoch:
    """Make an ephemeral snapshot of this moment; TooManySnapshots, OSError."""
    snapshots = mounted.filesystem.snapshots
    now = mounted.filesystem.overlay.clock()
    return snapshots.take(now, minute_name(now, {epoch.name for epoch in snapshots}))


async def _commit(mounted: Mounted) -> None:
    """Put a snapshot on stable storage soon; the journal has it if that fails."""
    try:
        await mounted.scratch.commit_gently()
    except OSError as error:
        log.warning("scratch: %s: changes are in its journal only", error)


def schedule_of(mounted: Mounted) -> Schedule:
    """Return the schedule that the scratch keeps."""
    value = mounted.scratch.get(_SCHEDULE)
    return change(Schedule(), value.decode().split()) if value else Schedule()


async def _snaptime(mounted: Mounted, said: list[str]) -> Answer:
    schedule = schedule_of(mounted)
    if said:
        before, schedule = schedule, change(schedule, said)
        ops = [put(_SCHEDULE, str(schedule).encode())]
        if schedule.archive != before.archive:  # the time that has passed today is not missed
            ops.append(put(_ARCHIVED, pack_number(mounted.filesystem.overlay.clock())))
        mounted.scratch.apply(ops)
        await mounted.scratch.commit_gently()
        return Answer()
    return Answer([f"snaptime {schedule}"])


async def _snapclean(mounted: Mounted, said: list[str]) -> Answer:
    if len(said) > 1:
        raise UsageError("snapclean: takes a number of minutes and nothing else")
    life = minutes("snapclean:", said[0]) if said else schedule_of(mounted).life
    if life is None:
        raise UsageError("snapclean: how many minutes may they be old? (snaptime -t is none)")
    now = mounted.filesystem.overlay.clock()
    gone = drop_old(mounted, Schedule(life=life), now)
    await tidy(mounted)
    await mounted.scratch.commit_gently()
    return Answer([f"snapshot/{name.decode()}" for name in gone])


def drop_old(mounted: Mounted, schedule: Schedule, now_ns: int) -> list[bytes]:
    """Drop the snapshots that are older than the schedule lets them; return their names."""
    snapshots = mounted.filesystem.snapshots
    old = [epoch for epoch in snapshots if is_expired(schedule, epoch.time_ns, now_ns)]
    for epoch in old:
        snapshots.drop(epoch.number)
    return [epoch.name for epoch in old]


async def tidy(mounted: Mounted) -> None:
    """Free what no snapshot sees any more."""
    while await mounted.filesystem.snapshots.tidy():
        await trio.lowlevel.checkpoint()


class Clockwork:
    """Does what the schedule says, when it is due."""

    def __init__(self, mounted: Mounted) -> None:
        self._mounted = mounted
        self._minute = 0  # that was last looked at
        self._retry_at = 0.0  # on trio's clock

    async def run(self) -> None:
        """Look every second; nothing that fails ends it."""
        while True:
            try:
                await self.look(self._mounted.filesystem.overlay.clock())
            except (SpawngridError, OSError) as error:
                log.warning("snapshots: %s", error)
            await trio.sleep(_TICK_SECONDS)

    async def look(self, now_ns: int) -> None:
        """Do what is due at this moment."""
        mounted = self._mounted
        schedule = schedule_of(mounted)
        minute = now_ns // 60_000_000_000
        if minute != self._minute:
            self._minute = minute
            drop_old(mounted, schedule, now_ns)
            if is_snapshot_minute(schedule, now_ns):
                await take_over(mounted)
                snapshot(mounted)
        await tidy(mounted)
        await self._archive_if_due(schedule, now_ns)

    async def _archive_if_due(self, schedule: Schedule, now_ns: int) -> None:
        mounted = self._mounted
        due = last_archive_ns(schedule, now_ns)
        value = mounted.scratch.get(_ARCHIVED)
        done = unpack_number(value) if value else 0
        if due is None or done >= due or trio.current_time() < self._retry_at:
            return
        self._retry_at = trio.current_time() + RETRY_SECONDS
        score = format_score(await save(mounted))
        mounted.scratch.apply([put(_ARCHIVED, pack_number(now_ns))])
        self._retry_at = 0.0
        log.info("archive %s", score)


WORDS = (
    Word(
        "snap", "[-a]", "let this moment be seen below snapshot/; -a: save it, for archive/", _snap
    ),
    Word(
        "snaptime",
        "[-s MIN] [-a HHMM] [-t MIN]",
        "snapshots every MIN, one saved at HHMM, none older than -t; none: not",
        _snaptime,
    ),
    Word("snapclean", "[MIN]", "drop snapshots older than MIN, or than snaptime -t", _snapclean),
)
