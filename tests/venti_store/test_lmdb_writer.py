"""The writer: durable after sync, bounded, whole after kill -9, and unharmed by a full disk."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
import trio

from lib9.waiting import run_now
from tests.venti_store.kit import close, new_store, noise, put, reopened, scrub
from venti_store.errors import StoreError, StoreFull
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3
from venti_store.stores.lmdb import writer as writer_module
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore

# argv: store, seed, shared seed. Prints the number of each round once it is synced.
WRITING = """
import random, sys
from lib9.waiting import run_now
from venti_store.interfaces import Block
from venti_store.kind import Kind
from venti_store.score import BLAKE3
from venti_store.stores.lmdb.store import LmdbStore
store = LmdbStore(sys.argv[1])
own = random.Random(sys.argv[2])
shared = random.Random(sys.argv[3])
for number in range(10**6):
    datas = [r.randbytes(r.randrange(1, 30_000)) for r in (own, shared) for _ in range(8)]
    run_now(store.put_many([Block(BLAKE3.score(d), Kind.DATA, d) for d in datas]))
    if number % 3 == 0:
        run_now(store.append_name(b"%d %s" % (number, sys.argv[2].encode())))
    else:
        run_now(store.sync())
    print(number, flush=True)
"""


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def datas_of(seed: str, shared: str, rounds: int) -> Iterator[bytes]:
    import random

    own, both = random.Random(seed), random.Random(shared)
    for _ in range(rounds):
        yield from [r.randbytes(r.randrange(1, 30_000)) for r in (own, both) for _ in range(8)]


@pytest.mark.parametrize("rounds", [1, 4, 11])
def test_kill_9_of_four_writing_processes(tmp_path: Path, rounds: int) -> None:
    create(str(tmp_path / "store"), BLAKE3)
    logs = [tmp_path / f"{n}.log" for n in range(4)]
    writers = []
    for n, log in enumerate(logs):
        with log.open("wb") as out:
            command = [sys.executable, "-c", WRITING, str(tmp_path / "store"), str(n), "shared"]
            writers.append(subprocess.Popen(command, stdout=out))
    for process, log in zip(writers, logs, strict=True):
        wait_until(lambda log=log: log.read_bytes().count(b"\n") >= rounds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    store = LmdbStore(str(tmp_path / "store"))
    assert scrub(store) == []
    records = list(store.log())
    assert [r.number for r in records] == list(range(1, len(records) + 1))
    blocks = [(r.score, r.kind) for r in records]
    assert len(set(blocks)) == len(blocks)
    for n, log in enumerate(logs):
        synced = log.read_bytes().count(b"\n")
        assert synced >= rounds
        keys = [Key(BLAKE3.score(d), Kind.DATA) for d in datas_of(str(n), "shared", synced)]
        assert len(run_now(store.get_many(keys))) == len(keys)
        names = [r.data for r in records if r.kind is None and r.data.endswith(b" %d" % n)]
        assert len(names) >= (synced + 2) // 3
    put(store, b"and it goes on")
    assert store.last_number() == len(records) + 1
    close(store)


HOLDING = """
import sys, time
from venti_store.stores.lmdb.store import LmdbStore
from venti_store.stores.lmdb.environment import NUMBER
store = LmdbStore(sys.argv[1])
with store.environment.env.begin(write=True) as txn:
    for number in range(2, 3000):
        txn.put(NUMBER.pack(number), bytes(20_000), db=store.environment.log, append=True)
    print("holds the lock", flush=True)
    time.sleep(60)
"""


def test_kill_9_in_the_middle_of_a_transaction(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, b"before")
    command = [sys.executable, "-c", HOLDING, store.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        run_now(store.put_many([_block(b"waits for the lock")]))
        holder.kill()
    run_now(store.sync())
    assert store.last_number() == 2
    assert scrub(store) == []
    close(store)


def test_names_come_after_the_blocks_put_before_them(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for n in range(5):
        run_now(store.put_many([_block(noise(f"{n} {m}", 3000)) for m in range(20)]))
        assert run_now(store.append_name(b"name %d" % n)) == 21 * (n + 1)
    close(store)


class RecordingEnv:
    """Notes the commits and syncs that an environment is asked for."""

    def __init__(self, env: lmdb.Environment) -> None:
        self.env = env
        self.done: list[str] = []

    def begin(self, *args: Any, write: bool = False, **options: Any) -> Any:
        if write:
            self.done.append("write")
        return self.env.begin(*args, write=write, **options)

    def sync(self, force: bool = False) -> None:
        self.env.sync(force)
        self.done.append(f"sync {force}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)


def test_sync_is_asked_of_the_disk_before_sync_returns(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    env = RecordingEnv(store.environment.env)
    store.environment.env = env  # type: ignore[assignment]
    for n in range(3):
        run_now(store.put_many([_block(b"%d" % n)]))
        run_now(store.sync())
        assert env.done[-2:] == ["write", "sync True"]
        assert store.last_number() == n + 1
    done = list(env.done)
    run_now(store.sync())
    assert env.done == done  # nothing new: nothing to do
    assert store.environment.env.flags()["sync"]
    assert not store.environment.env.flags()["writemap"]
    assert store.environment.env.flags()["lock"]
    store.environment.env = env.env
    close(store)


def test_a_block_that_was_there_before_is_durable_after_sync_too(tmp_path: Path) -> None:
    """Another process may have committed it, and not synced."""
    one, two = new_store(tmp_path), LmdbStore(str(tmp_path / "store"))
    run_now(one.put_many([_block(b"x")]))
    wait_until(lambda: two.last_number() == 1)
    env = RecordingEnv(two.environment.env)
    two.environment.env = env  # type: ignore[assignment]
    for known in (lambda: two.put_many([_block(b"x")]), lambda: two.have_many([_key(b"x")])):
        env.done.clear()
        run_now(two.sync())
        assert env.done == []
        run_now(known())
        run_now(two.sync())
        assert env.done == ["sync True"]
    two.environment.env = env.env
    close(one)
    close(two)


def test_a_lone_put_is_committed_soon_without_a_sync(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    run_now(store.put_many([_block(b"x")]))
    wait_until(lambda: store.last_number() == 1)
    close(store)


def test_a_full_queue_makes_puts_wait(tmp_path: Path) -> None:
    store = new_store(tmp_path, queue_bytes_max=100_000)
    put(store, b"the thread runs")
    accepted: list[int] = []

    def producer() -> None:
        for n in range(100):
            run_now(store.put_many([_block(noise(str(n), 10_000))]))
            accepted.append(n)

    thread = threading.Thread(target=producer)
    with store.environment.env.begin(write=True):  # the writer waits for its lock
        thread.start()
        wait_until(lambda: store._writer._bytes >= 100_000)
        assert len(accepted) < 15
        assert store._writer._bytes < 120_000
    thread.join()
    run_now(store.sync())
    assert store.last_number() == 101
    assert store._writer._bytes == 0
    assert not store._writer.pending
    close(store)


async def test_a_full_queue_does_not_stop_the_event_loop(tmp_path: Path) -> None:
    store = new_store(tmp_path, queue_bytes_max=50_000)
    put_all = trio.Event()

    async def producer() -> None:
        for n in range(20):
            await store.put_many([_block(noise(str(n), 10_000))])
        put_all.set()

    async with trio.open_nursery() as nursery:
        with store.environment.env.begin(write=True):
            nursery.start_soon(producer)
            with trio.fail_after(20):
                while store._writer._bytes < 50_000:
                    await trio.sleep(0.005)
            assert not put_all.is_set()
        with trio.fail_after(20):
            await put_all.wait()
    await store.aclose()


def test_many_threads_put_the_same_and_other_blocks(tmp_path: Path) -> None:
    store = new_store(tmp_path)

    def work(n: int) -> None:
        for m in range(50):
            blocks = [_block(noise(f"{n} {m}", 9000)), _block(b"shared %d" % m * 900)]
            run_now(store.put_many(blocks))
            assert run_now(store.get_many([Key(b.score, b.kind) for b in blocks])) == [
                b.data for b in blocks
            ]
        run_now(store.sync())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.last_number() == 6 * 50 + 50
    assert scrub(store) == []
    total = store.statistics().total()
    assert (total.blocks, total.again) == (350, 250)
    close(store)


def test_a_reserve_of_the_disk_is_left_and_nothing_accepted_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path)
    (key,) = put(store, b"before")
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    monkeypatch.setattr(store._writer, "_reserve_bytes", free * 2)
    run_now(store.put_many([_block(b"accepted")]))
    for _ in range(2):
        with pytest.raises(StoreFull, match="disk full"):
            run_now(store.sync())
    with pytest.raises(StoreFull):
        run_now(store.put_many([_block(b"refused")]))
    assert run_now(store.get_many([key, _key(b"accepted")])) == [b"before", b"accepted"]
    monkeypatch.setattr(store._writer, "_reserve_bytes", 0)
    run_now(store.sync())
    assert store.last_number() == 2
    store = reopened(store)
    assert run_now(store.get_many([_key(b"accepted")])) == [b"accepted"]
    assert run_now(store.have_many([_key(b"refused")])) == [False]
    close(store)


def test_closing_a_full_store_lets_go_of_it(tmp_path: Path) -> None:
    store = new_store(tmp_path, reserve_bytes=1 << 60)
    run_now(store.put_many([_block(b"x")]))
    with pytest.raises(StoreFull):
        close(store)
    close(store)
    again = LmdbStore(store.path)
    assert again.last_number() == 0
    close(again)


@pytest.mark.root
@pytest.mark.parametrize("reserve_mib", [0, 4])
def test_a_disk_that_is_full(tmp_path: Path, mount_point: Path, reserve_mib: int) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "store-test", str(mount_point)]
    subprocess.run(command, check=True)
    create(str(mount_point / "store"), BLAKE3)
    store = LmdbStore(str(mount_point / "store"), reserve_bytes=reserve_mib << 20)
    synced: list[bytes] = []
    with pytest.raises(StoreFull):
        for n in range(1000):
            data = noise(str(n), 64 << 10)
            put(store, data)
            synced.append(data)
    assert len(synced) > 100
    disk = os.statvfs(mount_point)
    assert disk.f_bavail * disk.f_frsize >= reserve_mib << 20
    assert run_now(store.get_many([_key(data) for data in synced])) == synced
    with pytest.raises(StoreFull):
        close(store)
    store = LmdbStore(str(mount_point / "store"))
    assert scrub(store) == []
    subprocess.run(["mount", "-o", "remount,size=64m", str(mount_point)], check=True)
    close(store)
    store = LmdbStore(str(mount_point / "store"), reserve_bytes=1 << 20)
    put(store, noise("after", 64 << 10))
    assert scrub(store) == []
    close(store)
    shutil.rmtree(mount_point / "store")


def test_any_other_failure_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store(tmp_path)
    (key,) = put(store, b"before")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(writer_module, "append", fail)
    run_now(store.put_many([_block(b"x")]))
    for _ in range(2):
        with pytest.raises(StoreError, match="Input/output"):
            run_now(store.sync())
    with pytest.raises(StoreError, match="Input/output"):
        run_now(store.put_many([_block(b"y")]))
    assert run_now(store.get_many([key])) == [b"before"]
    with pytest.raises(StoreError):
        close(store)


def test_reads_between_commits_pin_no_pages(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    keys = put(store, *(noise(str(n), 3000) for n in range(200)))
    entries = store.log()
    size = 0
    for n in range(300):
        run_now(store.get_many(keys[n % 200 :][:3]))
        if n == 100:
            size = store.environment.env.info()["last_pgno"]
        if n % 50 == 0:
            next(entries)
        put(store, b"%d" % n)
    assert store.environment.env.info()["last_pgno"] < size + 60
    assert store.statistics().oldest_reader_pid == 0
    with store.views(keys[:1]):
        for n in range(5):
            put(store, b"more %d" % n)
        figures = store.statistics()
        assert figures.oldest_reader_pid == os.getpid()
        assert figures.oldest_reader_behind >= 5
    close(store)


def test_a_view_cannot_be_used_after_its_time(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    keys = put(store, noise("x"))
    with store.views(keys) as views:
        kept = views[0]
    with pytest.raises(ValueError, match="released"):
        bytes(kept)
    close(store)


def test_statistics(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, noise("raw", 10_000), b"text " * 2000)
    run_now(store.append_name(b"name"))
    put(store, noise("raw", 10_000))
    store = reopened(store)
    figures = store.statistics()
    data, names = figures.counts[Kind.DATA], figures.counts[None]
    assert (data.blocks, data.size, data.again, data.again_size) == (2, 20_000, 1, 10_000)
    assert 10_000 < data.stored < 10_500
    assert (names.blocks, names.size, figures.last_number) == (1, 4, 3)
    assert figures.total().blocks == 3
    assert figures.store_id == store.store_id
    close(store)


def _block(data: bytes) -> Block:
    return Block(BLAKE3.score(data), Kind.DATA, data)


def _key(data: bytes) -> Key:
    return Key(BLAKE3.score(data), Kind.DATA)
