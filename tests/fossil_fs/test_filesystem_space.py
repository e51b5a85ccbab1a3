"""The file system without a kernel: holes, copies, clashes, limits, and what comes back after a kill."""

import errno
import os
import stat
from pathlib import Path

import pytest

from fossil_fs.scratch.budget import SIZE_MIN
from fossil_fs.scratch.scratch import Scratch
from tests.fossil_fs.drive import (
    ME,
    ROOT,
    Driver,
    empty_root,
    fails,
    new_scratch,
    remount,
    same_after_save,
)
from venti_store.score import SHA1
from venti_store.stores.memory import MemoryStore

UNIT = 64 << 10


async def test_holes(fs: Driver, store: MemoryStore, tmp_path: Path) -> None:
    ino = await fs.create("sparse")
    await fs.truncate("sparse", 100 << 30)
    await fs.write("sparse", 50 << 30, b"middle")
    assert await fs.fs.lseek(ino, 0, 0, 3) == 50 << 30
    assert await fs.fs.lseek(ino, 0, 50 << 30, 4) == (50 << 30) + 4096
    await fails(errno.ENXIO, fs.fs.lseek(ino, 0, 60 << 30, 3))
    await fails(errno.ENXIO, fs.fs.lseek(ino, 0, 100 << 30, 4))
    fs.fs.overlay.scratch.files.wait_for_space()
    assert fs.fs.overlay.scratch.used() < 2 << 20
    assert (await fs.stat("sparse")).blocks < 1000
    await fs.save()
    fs.drop_caches()
    ino = await fs.ino("sparse")
    assert await fs.fs.lseek(ino, 0, 0, 3) == 50 << 30
    assert await fs.read("sparse", (50 << 30) - 2, 10) == b"\0\0middle\0\0"
    assert await fs.read("sparse", (100 << 30) - 2, 10) == b"\0\0"


@pytest.mark.parametrize("saved", [False, True])
async def test_punching_and_zeroing(
    fs: Driver, store: MemoryStore, tmp_path: Path, saved: bool
) -> None:
    model = bytearray(os.urandom(6 * UNIT + 1000))
    ino = await fs.put("f", bytes(model))
    for offset, length, mode in [
        (UNIT, 2 * UNIT, 3),
        (UNIT // 2, 100, 3),
        (4 * UNIT - 50, UNIT + 100, 3),
        (6 * UNIT, 5000, 3),
        (6 * UNIT - 10, 20, 17),
        (6 * UNIT, 3000, 16),
        (0, 2 * UNIT, 0),
        (7 * UNIT, UNIT, 1),
        (7 * UNIT, UNIT, 0),
    ]:
        if saved:
            await fs.save()
        await fs.fs.fallocate(ino, 0, offset, length, mode)
        end = offset + length
        if mode in (0, 16):
            model.extend(bytes(max(0, end - len(model))))
        if mode in (3, 16, 17):
            end = min(end, len(model))
            model[offset:end] = bytes(end - offset)
        assert await fs.read("f") == bytes(model), (offset, length, mode)
    await fails(errno.EOPNOTSUPP, fs.fs.fallocate(ino, 0, 0, 4096, 8))
    await same_after_save(fs, store, tmp_path)


async def test_punching_gives_back_what_was_reserved(fs: Driver) -> None:
    ino = await fs.create("f")
    await fs.fs.fallocate(ino, 0, 0, 4 << 20, 0)
    assert (await fs.stat("f")).blocks * 512 >= 4 << 20
    await fs.write("f", 3 << 20, b"x")
    await fs.fs.fallocate(ino, 0, 0, 2 << 20, 3)
    assert (await fs.stat("f")).blocks * 512 < 3 << 20
    assert await fs.read("f") == bytes(3 << 20) + b"x" + bytes((1 << 20) - 1)


async def test_copy_file_range(fs: Driver) -> None:
    data = os.urandom(3 * UNIT)
    source, target = await fs.put("a", data), await fs.create("b")
    assert await fs.fs.copy_file_range(source, 100, target, 5, 2 * UNIT) == 2 * UNIT
    assert await fs.fs.copy_file_range(source, 3 * UNIT - 10, target, 0, 100) == 10
    assert await fs.read("b") == data[-10:] + data[105 : 100 + 2 * UNIT]


async def test_qids_that_clash_are_different_inodes(store: MemoryStore, tmp_path: Path) -> None:
    from fossil_fs.directory import write_directory
    from fossil_fs.node import Node
    from fossil_fs.snapshot import write_snapshot
    from venti_store.hashtree.build import build_tree
    from venti_store.interfaces import Batch

    batch = Batch(store.family)
    files = []
    for name, qid in ((b"a", 9), (b"b", 9), (b"c", 1), (b"d", 0), (b"e", 9)):
        entry = build_tree(batch, name, dsize=65536, psize=8192)
        files.append((name, Node(stat.S_IFREG | 0o644, qid=qid, size=1, content=entry)))
    source, meta = write_directory(batch, files)
    score = write_snapshot(batch, Node(stat.S_IFDIR | 0o755, qid=9, content=source, meta=meta))
    await store.put_many(batch.take())
    fs = await Driver.open(store, new_scratch(tmp_path, store, score))
    inos = [await fs.ino(name) for name in "abcde"]
    assert len({*inos, ROOT}) == 6
    assert [await fs.ino(name) for name in "abcde"] == inos
    for name in "abcde":
        await fs.write(name, 1, name.upper().encode())
    fs.drop_caches()
    assert [await fs.read(name) for name in "abcde"] == [b"aA", b"bB", b"cC", b"dD", b"eE"]
    await same_after_save(fs, store, tmp_path)
    fs.close()


async def test_resume_after_close_and_after_a_kill(store: MemoryStore, tmp_path: Path) -> None:
    scratch = new_scratch(tmp_path, store, await empty_root(store))
    expected = None
    for number in range(6):
        fs = await Driver.open(store, scratch)
        if expected is not None:
            assert await fs.tree() == expected
        await fs.mkdir(f"d{number}")
        await fs.put(f"d{number}/small", b"s" * number)
        await fs.put(f"d{number}/large", os.urandom(2 * UNIT + number))
        await fs.write("d0/large", UNIT - 5 + number, b"0123456789")
        if number == 3:
            await fs.save()
            await fs.write("d1/large", 5, b"later")
        expected = await fs.tree()
        fs.fs.overlay.scratch.check()
        if number % 2:
            fs.close()
        else:
            fs.kill()
    fs = await Driver.open(store, scratch)
    assert await fs.tree() == expected
    fs.close()


async def test_memory_of_the_table_is_bounded(fs: Driver, store: MemoryStore) -> None:
    import tracemalloc

    await fs.mkdir("d")
    for n in range(2000):
        await fs.create(f"d/{n}")
    await fs.save()
    fs.drop_caches()
    assert len(fs.fs.overlay.table) == 1
    await fs.names("d")
    fs.drop_caches()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    await fs.names("d")
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(fs.fs.overlay.table) == 2002
    assert used < 2000 * 1500, "at most 1 KiB each, and the test's own counting"


async def test_no_space_is_an_error_and_nothing_is_lost(store: MemoryStore, tmp_path: Path) -> None:
    root = await empty_root(store)
    fs = await Driver.open(store, new_scratch(tmp_path, store, root, 16 << 20))
    written: dict[str, bytes] = {}

    async def fill(start: int) -> None:
        for n in range(start, start + 10_000):
            data = os.urandom(200_000 if n % 2 else 3000)
            try:
                await fs.put(f"f{n}", data)
            except OSError as error:
                assert error.errno == errno.ENOSPC
                return
            written[f"f{n}"] = data

    await fill(0)
    assert sum(map(len, written.values())) > 7 << 20
    assert (await fs.fs.statfs(ME)).blocks_free < 100
    for name in list(written)[::3]:
        await fs.unlink(name)
        del written[name]
    fs.drop_caches()
    await fill(20_000)
    for name, data in written.items():
        assert await fs.read(name) == data
    await fs.save()
    fs.fs.overlay.scratch.files.wait_for_space()
    assert fs.fs.overlay.scratch.used() < 2 << 20
    await fill(40_000)
    assert all([await fs.read(name) == data for name, data in written.items()])
    assert isinstance(fs.fs.overlay.scratch, Scratch)
    fs.close()


async def test_a_save_of_many_small_files_stays_below_the_cap(
    store: MemoryStore, tmp_path: Path
) -> None:
    place = new_scratch(tmp_path, store, await empty_root(store), SIZE_MIN)
    fs = await Driver.open(store, place)
    for number in range(6000):  # each save's step finds its names all over the metadata
        await fs.put(f"{number * 7919 % 6000}", b"x")
    scratch = fs.fs.overlay.scratch
    commit, used = scratch.commit, []

    def measured() -> None:
        commit()
        used.append(scratch.used())

    scratch.commit = measured  # type: ignore[method-assign]
    await fs.save()
    assert len(used) > 5
    assert max(used) <= SIZE_MIN
    await fs.put("more", bytes(1 << 20))
    fs.close()


async def test_trees_of_plan_9_can_be_changed_and_saved(tmp_path: Path) -> None:
    store = MemoryStore(SHA1)
    fs = await Driver.open(store, new_scratch(tmp_path, store, await empty_root(store)))
    await fs.mkdir("d")
    await fs.put("d/small", b"text")
    await fs.put("d/large", os.urandom(200_000))
    await fs.symlink("d/link", b"target")
    await fs.mknod("d/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    await same_after_save(fs, store, tmp_path)
    await fs.write("d/large", 70_000, b"changed")
    await fs.truncate("d/small", 2)
    await fs.rename("d", "e")
    await same_after_save(fs, store, tmp_path)
    await fs.link("e/small", "twin")
    before = {name: await fs.read(name) for name in ("e/small", "twin")}
    other = await remount(fs, store, tmp_path)  # without links, each name is a file of its own
    assert {name: await other.read(name) for name in before} == before
    assert [(await other.stat(name)).nlink for name in before] == [1, 1]
    await other.write("twin", 0, b"T")
    assert await other.read("e/small") == b"te"
    other.close()
    fs.close()
