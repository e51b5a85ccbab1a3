"""Snapshots: what each shows whatever comes later, what they cost, and what is there after a kill."""

import errno
import os
import random
from pathlib import Path

import pytest

from fossil_fs.overlay.past import open_past
from fossil_fs.scratch.snapshots import SNAPSHOTS_MAX, NoSuchSnapshot, TooManySnapshots
from lib9 import faults
from lib9.fuse.interface import Changes
from tests.fossil_fs.drive import ME, Driver, empty_root, fails, new_scratch, seen
from venti_store.stores.memory import MemoryStore

UNIT = 64 << 10
Tree = dict[str, tuple[object, ...]]


async def take(fs: Driver, name: bytes = b"2001/0203/0405") -> int:
    return fs.fs.snapshots.take(5, name).number


async def tidy(fs: Driver) -> None:
    while await fs.fs.snapshots.tidy():
        pass


async def test_a_snapshot_shows_what_was(fs: Driver) -> None:
    await fs.mkdir("d")
    await fs.put("d/small", b"old")
    await fs.put("d/large", b"L" * (3 * UNIT))
    await fs.symlink("link", b"target")
    await fs.fs.setxattr(await fs.ino("d/small"), b"user.a", b"1", 0, ME)
    before = await fs.tree()
    number = await take(fs)
    await fs.write("d/small", 0, b"NEW")
    await fs.write("d/large", UNIT, b"NEW")
    await fs.truncate("d/large", UNIT + 3)
    await fs.rename("d", "e")
    await fs.unlink("link")
    await fs.fs.setattr(await fs.ino("e/small"), Changes(mode=0o600), 0, ME)
    await fs.fs.setxattr(await fs.ino("e/small"), b"user.a", b"2", 0, ME)
    await fs.put("new", b"n")
    past = await seen(fs, number)
    assert await past.tree() == before
    assert (await fs.read("e/large"))[UNIT:] == b"NEW"
    await fails(errno.ENOENT, past.stat("new"))


async def test_a_snapshot_outlives_saves_kills_and_resumes(
    store: MemoryStore, tmp_path: Path
) -> None:
    scratch = new_scratch(tmp_path, store, await empty_root(store))
    fs = await Driver.open(store, scratch)
    shown: dict[int, Tree] = {}
    for turn in range(8):
        await fs.put(f"f{turn}", os.urandom(30_000 * turn))
        await fs.write("f1", turn, b"%d" % turn) if turn > 1 else None
        shown[await take(fs, b"%d" % turn)] = await fs.tree()
        if turn % 3 == 0:
            await fs.save()
        if turn % 2:
            fs.kill()
            fs = await Driver.open(store, scratch)
    assert [epoch.name for epoch in fs.fs.snapshots] == [b"%d" % turn for turn in range(8)]
    for number, tree in shown.items():
        assert await (await seen(fs, number)).tree() == tree
    fs.fs.overlay.scratch.check()
    fs.close()


def allocated(fs: Driver) -> int:
    fs.fs.overlay.scratch.commit()
    files = fs.fs.overlay.scratch.files
    files.wait_for_space()
    return files.allocated


async def test_saving_frees_what_snapshots_and_the_store_both_have(fs: Driver) -> None:
    for n in range(4):
        await fs.put(f"f{n}", os.urandom(10 * UNIT))
    before = await fs.tree()
    first = await take(fs)
    await fs.write("f0", 5, b"later")
    await fs.fs.setattr(await fs.ino("f1"), Changes(mode=0o600), 0, ME)
    second = await take(fs)
    between = await fs.tree()
    assert allocated(fs) >= 40 * UNIT
    await fs.save()
    assert allocated(fs) <= 11 * UNIT, "only the bytes of f0 that no root has"
    assert await (await seen(fs, first)).tree() == before
    assert await (await seen(fs, second)).tree() == between


async def test_dropping_frees_what_nobody_sees(fs: Driver) -> None:
    await fs.put("f", b"1" * (16 * UNIT))
    numbers = [await take(fs)]
    for turn in (b"2", b"3", b"4"):
        await fs.write("f", 0, turn * (16 * UNIT))
        numbers.append(await take(fs))
    await fs.write("f", 0, b"5" * UNIT)
    assert allocated(fs) >= 65 * UNIT
    fs.fs.snapshots.drop(numbers[1])
    await tidy(fs)
    assert allocated(fs) <= 50 * UNIT
    assert await (await seen(fs, numbers[0])).read("f") == b"1" * (16 * UNIT)
    assert await (await seen(fs, numbers[2])).read("f") == b"3" * (16 * UNIT)
    for number in (numbers[0], numbers[2], numbers[3]):
        fs.fs.snapshots.drop(number)
    with pytest.raises(NoSuchSnapshot, match="has been deleted"):
        fs.fs.snapshots.drop(numbers[0])
    await tidy(fs)
    assert allocated(fs) <= 18 * UNIT
    assert await fs.read("f") == b"5" * UNIT + b"4" * (15 * UNIT)


@pytest.mark.parametrize("seed", range(6))
async def test_layers_of_a_file_that_is_always_written(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Random writes, cuts and holes between snapshots that come and go; layers are merged."""
    monkeypatch.setattr("fossil_fs.scratch.trimming.MERGE_ABOVE", 3)
    chance = random.Random(seed)
    scratch = new_scratch(tmp_path, store, await empty_root(store))
    fs = await Driver.open(store, scratch)
    model = bytearray(os.urandom(8 * UNIT))
    await fs.put("f", bytes(model))
    shown: dict[int, bytes] = {}
    deepest = 0
    for turn in range(300):
        offset = chance.choice([0, UNIT, 3 * UNIT - 1, chance.randrange(9 * UNIT)])
        what = chance.randrange(12)
        if what < 5:
            data = bytes([turn % 255 + 1]) * chance.choice([1, 5000, 4096, 2 * UNIT])
            model.extend(bytes(max(0, offset - len(model))))
            model[offset : offset + len(data)] = data
            await fs.write("f", offset, data)
        elif what == 5:
            size = max(2 * UNIT, offset)
            del model[size:]
            model.extend(bytes(size - len(model)))
            await fs.truncate("f", size)
        elif what == 6:
            end = min(len(model), offset + chance.choice([100, UNIT]))
            if offset < end:
                model[offset:end] = bytes(end - offset)
                await fs.fs.fallocate(await fs.ino("f"), 0, offset, end - offset, 3)
        elif what in (7, 8):
            shown[await take(fs)] = bytes(model)
        elif what == 9 and shown:
            number = chance.choice(sorted(shown))
            del shown[number]
            fs.fs.snapshots.drop(number)
        elif what == 10:
            await tidy(fs)
        elif chance.random() < 0.4:
            await fs.save()
        elif chance.random() < 0.4:
            fs.kill()
            fs = await Driver.open(store, scratch)
        assert await fs.read("f") == bytes(model), turn
        inode = fs.fs.overlay.record(await fs.ino("f"))
        deepest = max(deepest, len(inode.layers) if inode else 0)
        if turn % 10 == 0:
            for number, content in shown.items():
                assert await (await seen(fs, number)).read("f") == content, (turn, number)
            fs.fs.overlay.scratch.check()
    assert deepest > 3
    for number in shown:
        fs.fs.snapshots.drop(number)
    await tidy(fs)
    inode = fs.fs.overlay.record(await fs.ino("f"))
    assert inode is None or len(inode.layers) <= 4
    assert allocated(fs) <= len(model) + 3 * UNIT
    fs.close()


async def test_there_is_a_limit(fs: Driver) -> None:
    for _ in range(SNAPSHOTS_MAX):
        await take(fs)
    with pytest.raises(TooManySnapshots, match="snapclean"):
        await take(fs)


async def test_a_full_scratch_with_snapshots_is_freed_by_dropping_them(
    store: MemoryStore, tmp_path: Path
) -> None:
    fs = await Driver.open(
        store, new_scratch(tmp_path, store, await empty_root(store), size=32 << 20)
    )
    await fs.put("f", b"1" * (12 << 20))
    number = await take(fs)
    count = 0
    with pytest.raises(OSError, match="space"):
        while True:
            await fs.write("f", count * UNIT, b"2" * UNIT)
            count += 1
    scratch = fs.fs.overlay.scratch
    assert count * UNIT >= 10 << 20
    assert await (await seen(fs, number)).read("f") == b"1" * (12 << 20)
    await fs.truncate("f", 0)
    await fails(errno.ENOSPC, fs.write("f", 0, b"3" * (16 << 20)))
    assert scratch.used() <= scratch.budget.size
    assert await (await seen(fs, number)).read("f") == b"1" * (12 << 20)
    fs.fs.snapshots.drop(number)
    await tidy(fs)
    await fs.write("f", 0, b"3" * (16 << 20))
    assert scratch.used() <= scratch.budget.size
    fs.close()


async def test_names_removed_in_a_full_scratch_never_pass_the_cap(
    store: MemoryStore, tmp_path: Path
) -> None:
    fs = await Driver.open(
        store, new_scratch(tmp_path, store, await empty_root(store), size=16 << 20)
    )
    await fs.mkdir("d")
    count = 8000
    for n in range(count):
        await fs.create(f"d/{n:0200}")
    size = 0
    with pytest.raises(OSError, match="space"):
        while True:
            await fs.put(f"data{size}", bytes(60_000))
            size += 60_000
    number = await take(fs)
    scratch = fs.fs.overlay.scratch
    refused = 0
    for n in range(count):
        try:
            await fs.unlink(f"d/{n:0200}")
        except OSError as error:
            assert error.errno == errno.ENOSPC
            refused += 1
        assert scratch.used() <= scratch.budget.size
    assert refused, "the snapshot holds what the cap has room for"
    assert len(await (await seen(fs, number)).names("d")) == count
    fs.fs.snapshots.drop(number)
    await tidy(fs)
    for name in await fs.names("d"):
        await fs.unlink(f"d/{name}")
    assert await fs.names("d") == []
    fs.close()


async def test_taking_one_costs_the_same_whatever_was_changed(fs: Driver) -> None:
    def applied() -> int:
        return fs.fs.overlay.scratch.metadata.journal.size

    sizes = []
    for count in (1, 3000):
        for n in range(count):
            await fs.create(f"{count}-{n}")
        fs.fs.overlay.scratch.commit()
        start = applied()
        await take(fs)
        sizes.append(applied() - start)
    assert sizes[0] == sizes[1] < 300


class Killed(BaseException):
    pass


POINTS = ["snapshot.taken", "snapshot.dropped", "snapshot.handed-on", "trim.committed",
          "trim.punched", "merge.copied", "merge.applied"]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_any_step_leaves_every_snapshot_as_it_was(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr("fossil_fs.scratch.trimming.MERGE_ABOVE", 2)
    scratch = new_scratch(tmp_path, store, await empty_root(store))
    for hit in (1, 2, 3):
        fs = await Driver.open(store, scratch)
        shown: dict[int, Tree] = {}
        killed = False
        left = hit

        def action(name: str) -> None:
            nonlocal left
            if name == point:
                left -= 1
                if left == 0:
                    raise Killed

        faults.arm(action)
        try:
            for turn in range(6):
                await fs.put(f"{hit}-{turn}", os.urandom(9 * UNIT))
                for n in range(turn):
                    await fs.write(f"{hit}-{n}", (turn + n) % 5 * UNIT, b"x" * 5000)
                tree = await fs.tree()
                shown[await take(fs)] = tree
            for number in list(shown)[1:5]:
                tree = shown.pop(number)
                fs.fs.snapshots.drop(number)
                await tidy(fs)
        except Killed:
            killed = True
        finally:
            faults.arm(None)
        assert killed, f"{point} was reached less than {hit} times"
        now = await fs.tree()
        fs.kill()
        fs = await Driver.open(store, scratch)
        fs.fs.overlay.scratch.check()
        assert await fs.tree() == now
        await tidy(fs)
        for number, tree in shown.items():
            assert await (await seen(fs, number)).tree() == tree
        for epoch in list(fs.fs.snapshots):
            fs.fs.snapshots.drop(epoch.number)
        await tidy(fs)
        assert await fs.tree() == now
        fs.close()


async def test_a_dropped_snapshot_is_gone(fs: Driver) -> None:
    epoch = fs.fs.snapshots.get(await take(fs))
    fs.fs.snapshots.drop(epoch.number)
    with pytest.raises(NoSuchSnapshot):
        fs.fs.snapshots.get(epoch.number)
    await open_past(fs.fs.overlay, epoch)  # who has it open may hold on for a while
