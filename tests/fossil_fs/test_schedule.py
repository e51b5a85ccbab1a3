"""When snapshots are due, and what they are called; and that the clock does what is due."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fossil_fs.mounting.mounted import Mounted
from fossil_fs.mounting.options import Mounting
from fossil_fs.mounting.schedule import (
    Schedule,
    change,
    day_names,
    is_expired,
    is_snapshot_minute,
    last_archive_ns,
    minute_name,
)
from fossil_fs.mounting.snapping import Clockwork, schedule_of
from fossil_fs.mounting.table import WORDS
from fossil_fs.mounting.word import say
from lib9.errors import UsageError
from tests.fossil_fs.drive import Driver
from venti_store.errors import StoreFull
from venti_store.stores.memory import MemoryStore
from venti_store.stores.watched import WatchedStore

MINUTE = 60 * 10**9


def at(text: str) -> int:
    return int(time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))) * 10**9


@pytest.fixture(autouse=True, params=["UTC", "Asia/Kolkata", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_words_make_a_schedule() -> None:
    schedule = change(Schedule(), ["-s", "60", "-a", "0500", "-t", "2880"])
    assert schedule == Schedule(archive=300, every=60, life=2880)
    assert str(schedule) == "-a 0500 -s 60 -t 2880"
    assert change(schedule, ["-s", "none"]) == replace(schedule, every=None)
    assert change(Schedule(), str(schedule).split()) == schedule
    assert str(Schedule()) == "-a none -s none -t none"
    assert change(Schedule(), ["-a", "0000"]).archive == 0
    for wrong in (
        ["-s"],
        ["-x", "1"],
        ["5"],
        ["-a", "500"],
        ["-a", "1260"],
        ["-t", "0"],
        ["-s", "-1"],
    ):
        with pytest.raises(UsageError, match=r"^snaptime: "):
            change(schedule, wrong)


def test_snapshots_are_due_at_multiples_of_local_minutes() -> None:
    hourly = Schedule(every=60)
    assert is_snapshot_minute(hourly, at("2026-11-26 14:00") + 59 * 10**9)
    assert not is_snapshot_minute(hourly, at("2026-11-26 14:01"))
    assert not is_snapshot_minute(Schedule(), at("2026-11-26 14:00"))
    assert is_snapshot_minute(Schedule(every=1), at("2026-11-26 14:07"))


def test_the_last_archival_one_is_of_today_or_yesterday() -> None:
    at_five = Schedule(archive=300)
    assert last_archive_ns(at_five, at("2026-11-26 05:00")) == at("2026-11-26 05:00")
    assert last_archive_ns(at_five, at("2026-11-26 04:59")) == at("2026-11-25 05:00")
    assert last_archive_ns(Schedule(), at("2026-11-26 04:59")) is None


def test_age() -> None:
    now = at("2026-11-26 05:00")
    assert not is_expired(Schedule(life=10), now - 10 * MINUTE, now)
    assert is_expired(Schedule(life=10), now - 10 * MINUTE - 1, now)
    assert not is_expired(Schedule(), 0, now)


def test_names() -> None:
    now = at("2026-11-26 05:07")
    taken: set[bytes] = set()
    for expected in (b"2026/1126/0507", b"2026/1126/0507.1", b"2026/1126/0507.2"):
        assert minute_name(now, taken) == expected
        taken.add(expected)
    days = [at("2026-11-25 23:59"), now, now, at("2026-11-27 00:00")]
    assert list(day_names(days)) == [b"2026/1125", b"2026/1126", b"2026/1126.1", b"2026/1127"]


def mounted(fs: Driver, store: MemoryStore, tmp_path: Path) -> Mounted:
    mounting = Mounting("id", os.fsencode(tmp_path), fs.fs.overlay.scratch.directory)
    return Mounted(mounting, fs.fs.overlay.scratch, fs.fs, WatchedStore(store))


async def test_a_day_by_the_clock(fs: Driver, store: MemoryStore, tmp_path: Path) -> None:
    mount = mounted(fs, store, tmp_path)
    now = at("2026-11-25 22:59")
    fs.fs.overlay.clock = lambda: now
    clock = Clockwork(mount)
    await say(WORDS, mount, "snaptime -s 60 -a 0500 -t 600")
    base = fs.fs.overlay.snapshot.score
    for minute in range(24 * 60):
        now = at("2026-11-25 22:59") + minute * MINUTE
        if minute % 30 == 0:
            await fs.put(f"f{minute}", b"x")
        await clock.look(now)
        await clock.look(now + 10**9)
    names = [epoch.name for epoch in fs.fs.snapshots]
    assert len(names) == 10, "one an hour, none older than ten hours"
    assert names[-1] == b"2026/1126/2200"
    assert fs.fs.overlay.snapshot.prev == base
    assert fs.fs.overlay.saves == 1
    kept = schedule_of(mounted(fs, store, tmp_path))
    assert kept == Schedule(archive=300, every=60, life=600)


async def test_a_missed_archival_one_is_done_at_the_next_start(
    fs: Driver, store: MemoryStore, tmp_path: Path
) -> None:
    mount = mounted(fs, store, tmp_path)
    now = at("2026-11-25 10:00")
    fs.fs.overlay.clock = lambda: now
    await say(WORDS, mount, "snaptime -a 0500 -s 60")
    await fs.put("f", b"x")
    await Clockwork(mount).look(now + MINUTE)
    assert fs.fs.overlay.saves == 0, "five o'clock had passed when it was set"
    now = at("2026-11-28 12:30")
    await Clockwork(mount).look(now)
    assert fs.fs.overlay.saves == 1
    assert len(fs.fs.snapshots) == 0, "missed ephemeral ones are not made later"


async def test_venti_that_is_full_is_asked_again(
    fs: Driver, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = mounted(fs, store, tmp_path)
    now = at("2026-11-25 04:00")
    fs.fs.overlay.clock = lambda: now
    await say(WORDS, mount, "snaptime -a 0500")
    await fs.put("f", b"x")

    async def full(_blocks: object) -> None:
        raise StoreFull("memory: full")

    clock = Clockwork(mount)
    now = at("2026-11-25 05:00")
    with monkeypatch.context() as patched:
        patched.setattr(store, "put_many", full)
        with pytest.raises(StoreFull):
            await clock.look(now)
        await clock.look(now + 10**9)  # not before its time
    assert await fs.read("f") == b"x"
    clock._retry_at = 0
    await clock.look(now + 2 * MINUTE)
    assert fs.fs.overlay.saves == 1
