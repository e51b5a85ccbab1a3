"""Saves: what they cost, what they contain while writers go on, and what is there after a kill."""

import errno
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from lib9 import faults
from tests.fossil_fs.drive import ME, Driver, empty_root, fails, new_scratch
from venti_store.errors import NoSuchBlock, StoreFull
from venti_store.interfaces import Block, Key
from venti_store.score import Score
from venti_store.stores.memory import MemoryStore

UNIT = 64 << 10


class Watched(MemoryStore):
    """Counts blocks read; can refuse to take any."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.full = False

    async def get_many(self, keys):  # type: ignore[no-untyped-def]
        self.reads += len(keys)
        return await super().get_many(keys)

    async def put_many(self, blocks):  # type: ignore[no-untyped-def]
        if self.full:
            raise StoreFull("memory: full")
        await super().put_many(blocks)


async def mounted(store: MemoryStore, tmp_path: Path, score: Score | None = None) -> Driver:
    score = score or await empty_root(store)
    return await Driver.open(store, new_scratch(tmp_path, store, score))


@pytest.mark.parametrize(("folders", "files"), [(0, 1000), (20, 1000)])
async def test_one_small_change_reads_few_blocks(tmp_path: Path, folders: int, files: int) -> None:
    store = Watched()
    fs = await mounted(store, tmp_path)
    places = [f"d{n:03}" for n in range(folders)] or [""]
    for place in places:
        if place:
            await fs.mkdir(place)
        for n in range(files):
            await fs.create(f"{place}/{n:04}")
    await fs.put(f"{places[-1]}/victim", os.urandom(3 * UNIT))
    score = await fs.save()
    fs.close()
    fs = await mounted(store, tmp_path, score)
    await fs.write(f"{places[-1]}/victim", UNIT + 5000, b"x" * 4096)
    store.reads = 0
    await fs.save()
    assert 0 < store.reads <= 20
    assert (await fs.read(f"{places[-1]}/victim"))[UNIT + 5000 : UNIT + 9096] == b"x" * 4096
    fs.close()


async def test_each_save_is_a_point_in_time(tmp_path: Path) -> None:
    store = MemoryStore()
    fs = await mounted(store, tmp_path)
    first, second = await fs.put("first", bytes(8)), await fs.put("second", bytes(3 * UNIT))
    scores: list[Score] = []

    async def write() -> None:
        count = 0
        while True:
            count += 1
            data = count.to_bytes(8)
            await fs.fs.write(first, 0, 0, data)
            await fs.fs.write(second, 0, 2 * UNIT + 100, data)
            if count % 10 == 0:
                await fs.put(f"noise{count}", os.urandom(count % 3 * 40_000))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        for _ in range(30):
            scores.append(await fs.save())
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    values = []
    for score in scores:
        saved = await mounted(store, tmp_path, score)
        one = int.from_bytes(await saved.read("first", 0, 8))
        two = int.from_bytes(await saved.read("second", 2 * UNIT + 100, 8))
        assert two <= one <= two + 1
        values.append(one)
        saved.close()
    assert values == sorted(values)
    assert values[-1] > values[0]
    fs.close()


async def test_writers_go_on_while_a_large_file_is_saved(tmp_path: Path) -> None:
    store = MemoryStore()
    fs = await mounted(store, tmp_path)
    data = os.urandom(20 << 20)
    ino = await fs.put("large", data)
    writes = 0
    frozen = trio.Event()
    faults.arm(lambda name: frozen.set() if name == "save.frozen" else None)

    async def write() -> None:
        nonlocal writes
        await frozen.wait()
        while True:
            await fs.fs.write(ino, 0, writes * UNIT % len(data), b"later" * 100)
            writes += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        score = await fs.save()
        nursery.cancel_scope.cancel()
    faults.arm(None)
    assert writes > 10
    saved = await mounted(store, tmp_path, score)
    assert await saved.read("large") == data
    assert (await fs.read("large"))[:5] == b"later"
    saved.close()
    fs.close()


async def test_a_store_that_is_full_loses_nothing(tmp_path: Path) -> None:
    store = Watched()
    fs = await mounted(store, tmp_path)
    model = bytearray(os.urandom(3 * UNIT))
    await fs.put("f", bytes(model))
    for n in range(5):
        store.full = True
        with pytest.raises(StoreFull):
            await fs.save()
        model[n * 1000 : n * 1000 + 5] = b"again"
        await fs.write("f", n * 1000, b"again")
        assert await fs.read("f") == bytes(model)
        fs.kill()
        fs = await Driver.open(store, fs.fs.overlay.scratch.directory)
    store.full = False
    score = await fs.save()
    assert fs.fs.overlay.scratch.files.numbers() == []
    saved = await mounted(store, tmp_path, score)
    assert await saved.read("f") == bytes(model)
    saved.close()
    fs.close()


@pytest.mark.root
async def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    await trio.run_process(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(small)])
    try:
        store = MemoryStore()
        score = await empty_root(store)
        fs = await Driver.open(store, new_scratch(small, store, score, 64 << 20))
        model: dict[str, bytes] = {}
        failures = 0
        for n in range(400):
            data = os.urandom((100, 30_000, 200_000)[n % 3])
            try:
                await fs.create(f"f{n}")
                model[f"f{n}"] = b""
                await fs.write(f"f{n}", 0, data)
                model[f"f{n}"] = data
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
                failures += 1
        assert failures
        for turn in range(2):
            assert set(await fs.names("")) == set(model)
            for name, data in model.items():
                assert await fs.read(name) in (data, b""), name
            if not turn:
                fs.kill()
                fs = await Driver.open(store, fs.fs.overlay.scratch.directory)
        await trio.run_process(["mount", "-o", "remount,size=64m", str(small)])
        for name in list(model)[::2]:
            await fs.unlink(name)
        await fs.save()
        assert fs.fs.overlay.scratch.is_clean
        fs.close()
    finally:
        await trio.run_process(["umount", "-l", str(small)])


@pytest.mark.root
async def test_what_is_deleted_makes_room_on_a_full_disk_at_once(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    await trio.run_process(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(small)])
    try:
        store = MemoryStore()
        score = await empty_root(store)
        fs = await Driver.open(store, new_scratch(small, store, score, 64 << 20))
        assert (await fs.fs.statfs(ME)).blocks_available * 4096 <= 24 << 20
        await fs.put("old", bytes(16 << 20))
        await fs.create("new")
        await fails(errno.ENOSPC, fs.write("new", 0, bytes(12 << 20)))
        await fs.unlink("old")
        fs.drop_caches()
        await fs.write("new", 0, bytes(12 << 20))
        assert await fs.read("new") == bytes(12 << 20)
        fs.close()
    finally:
        await trio.run_process(["umount", "-l", str(small)])


async def test_a_lost_block_is_an_error_there_and_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    fs = await mounted(store, tmp_path)
    await fs.put("good", b"g" * 100_000)
    await fs.put("bad", os.urandom(300_000))
    score = await fs.save()
    fs.close()
    fs = await mounted(store, tmp_path, score)
    node = fs.fs.overlay.node(await fs.ino("bad"))
    assert node.content is not None
    from venti_store.hashtree.read import leaf_keys

    (key,) = await leaf_keys(store, node.content, 2, 1)
    assert isinstance(key, Key)
    lost = store.blocks.pop((key.score, key.kind))
    with pytest.raises(OSError, match="Errno 5"):
        await fs.read("bad")
    with pytest.raises(OSError, match="Errno 5"):
        await fs.write("bad", 2 * UNIT + 10, b"x")
    assert sum(key.score.hex() in line for line in caplog.text.splitlines()) == 1
    assert len(await fs.read("bad", 0, 2 * UNIT)) == 2 * UNIT
    assert await fs.read("good") == b"g" * 100_000
    await fs.write("bad", 2 * UNIT, b"y" * UNIT)  # all of the block: the lost one is not needed
    assert await fs.read("bad", 2 * UNIT, 5) == b"yyyyy"
    await fs.save()
    await store.put_many([Block(key.score, key.kind, lost)])
    fs.close()


class Killed(BaseException):
    pass


async def _work(fs: Driver, done: Callable[[], None]) -> None:
    """A fixed sequence of operations and two saves; `done` after each."""
    rng = random.Random(5)
    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: fs.mkdir("d"),
        lambda: fs.put("d/small", b"small"),
        lambda: fs.put("d/large", rng.randbytes(3 * UNIT)),
        lambda: fs.link("d/small", "link"),
        lambda: fs.save(),
        lambda: fs.write("d/large", UNIT - 5, b"0123456789"),
        lambda: fs.write("link", 0, b"SMALL"),
        lambda: fs.truncate("d/large", 2 * UNIT + 5),
        lambda: fs.rename("d/large", "moved"),
        lambda: fs.mkdir("e"),
        lambda: fs.rename("d", "e/d"),
        lambda: fs.unlink("link"),
        lambda: fs.fs.fsync(1, 0, False),
        lambda: fs.save(),
        lambda: fs.write("moved", 2 * UNIT, b"more" * 20_000),
        lambda: fs.unlink("e/d/small"),
        lambda: fs.rmdir("e/d"),
        lambda: fs.save(),
    ]
    for step in steps:
        await step()
        done()


async def _hits(tmp_path: Path) -> list[str]:
    """Return the points that the work passes, in order."""
    store = MemoryStore()
    fs = await mounted(store, tmp_path)
    reached: list[str] = []
    faults.arm(reached.append)
    try:
        await _work(fs, lambda: None)
    finally:
        faults.arm(None)
    fs.close()
    return reached


POINTS = {
    "journal.appended",
    "journal.cut",
    "commit.data-synced",
    "commit.metadata-committed",
    "commit.done",
    "fsync.data-synced",
    "fsync.journal-synced",
    "write.inline-applied",
    "layer.begun",
    "write.data-written",
    "write.applied",
    "truncate.applied",
    "rename.applied",
    "save.frozen",
    "save.blocks-stored",
    "save.blocks-synced",
    "save.root-written",
    "save.root-synced",
    "save.done",
    "rebase.begun",
    "rebase.directory-switched",
    "rebase.done",
}


async def test_a_kill_at_every_point_of_every_step(tmp_path: Path) -> None:
    hits = await _hits(tmp_path)
    assert set(hits) == POINTS
    chosen = sorted({hits.index(name) for name in POINTS} | set(range(0, len(hits), 3)))
    for number in chosen:
        await _kill_at(tmp_path, number)


async def _kill_at(tmp_path: Path, number: int) -> None:
    store = MemoryStore()
    fs = await mounted(store, tmp_path)
    left = number

    def action(_name: str) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1

    completed = 0

    def done() -> None:
        nonlocal completed
        completed += 1

    faults.arm(action)
    try:
        await _work(fs, done)
    except Killed:
        pass
    finally:
        faults.arm(None)
    fs.kill()
    again = await Driver.open(store, fs.fs.overlay.scratch.directory)
    again.fs.overlay.scratch.check()
    found = _shape(await again.tree())
    # the step that was killed has happened or not; a file's creation and its bytes are two operations
    assert found in await _reachable(tmp_path, completed), (number, completed)
    score = await again.save()
    saved = await mounted(store, tmp_path, score)
    assert _shape(await saved.tree()) == found
    saved.close()
    again.close()


def _shape(tree: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    return {path: (mode, links, what) for path, (mode, _, _, _, _, links, what, _) in tree.items()}


class Enough(Exception):
    pass


_trees: dict[int, list[dict[str, tuple[object, ...]]]] = {}


async def _reachable(tmp_path: Path, completed: int) -> list[dict[str, tuple[object, ...]]]:
    """Return the trees after `completed` steps, inside the next one, and after it."""
    if completed in _trees:
        return _trees[completed]
    found: list[dict[str, tuple[object, ...]]] = []
    for extra in (0, 1):
        store = MemoryStore()
        fs = await mounted(store, tmp_path)
        count = 0

        def done() -> None:
            nonlocal count
            count += 1
            if count == completed + extra:  # noqa: B023
                raise Enough

        inside: list[dict[str, tuple[object, ...]]] = []
        plain = fs.fs.create

        async def create(*args):  # type: ignore[no-untyped-def]
            answer = await plain(*args)  # noqa: B023
            inside.append(_shape(await fs.tree()))  # noqa: B023
            return answer

        fs.fs.create = create  # type: ignore[method-assign]
        try:
            if completed + extra:
                await _work(fs, done)
        except Enough:
            pass
        found.append(_shape(await fs.tree()))
        if extra:
            found += inside
        fs.close()
    _trees[completed] = found
    return found


async def test_no_such_block_is_not_hidden(tmp_path: Path) -> None:
    store = MemoryStore()
    with pytest.raises(NoSuchBlock):
        await mounted(store, tmp_path, Score(bytes(31) + b"1"))


async def test_a_linked_file_that_was_listed_before_is_new_after_each_save(
    fs: Driver, store: MemoryStore
) -> None:
    """Its directories do not change with it: what they were seen to hold must not come back."""
    await fs.mkdir("a")
    await fs.mkdir("b")
    await fs.put("a/file", b"first")
    await fs.link("a/file", "b/file")
    ino = await fs.ino("a/file")
    for text in (b"first", b"again", b"third"):
        await fs.fs.write(ino, 0, 0, text)
        await fs.save()
        # the kernel knows the name, and reads by number
        assert await fs.names("a") == await fs.names("b") == ["file"]
        assert b"".join(await fs.fs.read(ino, 0, 0, 100)) == text
