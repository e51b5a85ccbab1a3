"""A kill at every point that the code names, at its first pass and at one from a seed.

The points are found in the sources: a new one that no step here passes fails the test. What each was
passed and killed at is printed (`pytest -s`).
"""

import os
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lib9 import faults
from tests.fossil_fs.drive import Driver, empty_root, new_scratch, seen
from venti_store.stores.memory import MemoryStore

UNIT = 64 << 10
SOURCES = Path(__file__).parents[2] / "fossil_fs"
Shape = dict[str, tuple[object, ...]]


class Killed(BaseException):
    pass


class World:
    """A file system under work, and what its snapshots must show."""

    def __init__(self, store: MemoryStore, fs: Driver) -> None:
        self.store = store
        self.fs = fs
        self.shown: dict[int, Shape] = {}
        self.in_doubt: set[int] = set()
        self.rng = random.Random(5)

    async def snap(self) -> None:
        shape = await self.shape()
        number = len(self.shown) + 1
        self.shown[number] = shape
        self.in_doubt.add(number)  # until the call returns
        self.fs.fs.snapshots.take(number, b"%d" % number)
        self.in_doubt.discard(number)

    async def drop(self, number: int) -> None:
        self.in_doubt.add(number)
        self.fs.fs.snapshots.drop(number)

    async def tidy(self) -> None:
        while await self.fs.fs.snapshots.tidy():
            pass

    async def compact(self) -> None:
        self.fs.fs.overlay.scratch.metadata.compact()

    async def shape(self) -> Shape:
        return _shape(await self.fs.tree())

    def steps(self) -> list[Callable[[], Awaitable[object]]]:
        fs = self.fs
        large = [self.rng.randbytes(3 * UNIT) for _ in range(2)]
        rewrites = [
            step
            for turn in range(4)
            for step in (
                lambda turn=turn: fs.write("moved", turn * UNIT // 2, b"%d" % turn * 5000),
                self.snap,
            )
        ]
        return [
            lambda: fs.mkdir("d"),
            lambda: fs.create("d/small"),
            lambda: fs.write("d/small", 0, b"small"),
            lambda: fs.create("d/large"),
            lambda: fs.write("d/large", 0, large[0]),
            lambda: fs.link("d/small", "link"),
            self.snap,
            lambda: fs.save(),
            lambda: fs.write("d/large", UNIT - 5, b"0123456789"),
            lambda: fs.write("link", 0, b"SMALL"),
            lambda: fs.truncate("d/large", 2 * UNIT + 5),
            lambda: fs.rename("d/large", "moved"),
            lambda: fs.mkdir("e"),
            lambda: fs.rename("d", "e/d"),
            lambda: fs.unlink("link"),
            lambda: fs.fs.fsync(1, 0, False),
            self.snap,
            lambda: self.drop(1),
            self.tidy,
            self.compact,
            *rewrites,
            *[lambda number=number: self.drop(number) for number in (3, 4, 5)],
            self.tidy,
            lambda: fs.save(),
            lambda: fs.write("moved", 2 * UNIT, large[1]),
            lambda: fs.unlink("e/d/small"),
            lambda: fs.rmdir("e/d"),
            lambda: self.drop(2),
            self.tidy,
            lambda: fs.save(),
        ]


def _shape(tree: Shape) -> Shape:
    return {path: (mode, links, what) for path, (mode, _, _, _, _, links, what, _) in tree.items()}


async def _world(tmp_path: Path) -> World:
    store = MemoryStore()
    score = await empty_root(store)
    return World(store, await Driver.open(store, new_scratch(tmp_path, store, score)))


async def _undisturbed(tmp_path: Path) -> tuple[list[str], list[Shape]]:
    """Return the points that the work passes, in order, and the trees before and after each step."""
    world = await _world(tmp_path)
    reached: list[str] = []
    shapes = [await world.shape()]
    for step in world.steps():
        faults.arm(reached.append)
        try:
            await step()
        finally:
            faults.arm(None)
        shapes.append(await world.shape())
    world.fs.close()
    return reached, shapes


async def _kill_at(tmp_path: Path, number: int, shapes: list[Shape]) -> None:
    world = await _world(tmp_path)
    left = number
    at = 0

    def action(_name: str) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1

    with pytest.raises(Killed):
        for at, step in enumerate(world.steps()):
            if at:
                await world.shape()  # reads as the undisturbed run does
            faults.arm(action)
            try:
                await step()
            finally:
                faults.arm(None)
    world.fs.kill()
    again = await Driver.open(world.store, world.fs.fs.overlay.scratch.directory)
    again.fs.overlay.scratch.check()
    found = _shape(await again.tree())
    assert found in (shapes[at], shapes[at + 1]), (number, at)
    there = {epoch.number for epoch in again.fs.snapshots}
    assert there <= set(world.shown)
    assert set(world.shown) - world.in_doubt <= there
    for turn in range(2):
        for snapshot in there:
            past = await seen(again, snapshot)
            assert _shape(await past.tree()) == world.shown[snapshot], (number, snapshot)
        if not turn:
            while await again.fs.snapshots.tidy():
                pass
            await again.save()
    assert _shape(await again.tree()) == found
    again.close()


@pytest.mark.parametrize("seed", range(3))
async def test_a_kill_at_every_named_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("fossil_fs.scratch.trimming.MERGE_ABOVE", 1)
    named = {
        name
        for path in SOURCES.rglob("*.py")
        for name in re.findall(r'\bfault\("([a-z.-]+)"\)', path.read_text())
    }
    reached, shapes = await _undisturbed(tmp_path)
    hits = Counter(reached)
    assert set(hits) == named, "every point is passed at least once"
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    for name in sorted(named):
        places = [at for at, one in enumerate(reached) if one == name]
        for number in {places[0], chance.choice(places)}:
            await _kill_at(tmp_path, number, shapes)
            killed[name] += 1
    for name in sorted(named):
        print(f"{name:28} passed {hits[name]:5}  killed {killed[name]}")
    assert os.listdir(tmp_path)
