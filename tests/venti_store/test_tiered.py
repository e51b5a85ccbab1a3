"""The cache near a far store, and replicas: what is fetched, what is kept, what takes how much."""

import os
import random
import subprocess
import sys

import pytest
import trio

from lib9 import places
from tests.contracts.block_store import BlockStoreContract, blocks_of, keys_of
from tests.kit.serving import serving
from venti_store.errors import CorruptBlock, HashMismatch, NoSuchBlock, StoreError, Unreachable
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind
from venti_store.open import open_store
from venti_store.score import BLAKE3, SHA1
from venti_store.stores.counting import CountingStore
from venti_store.stores.faulty import Faults, FaultyStore
from venti_store.stores.lmdb.cache import CAP_MIN, open_cache
from venti_store.stores.lmdb.environment import create
from venti_store.stores.memory import MemoryStore
from venti_store.stores.replicas import ReplicaStore
from venti_store.stores.tiered import TieredStore

MIB = 1 << 20
BLOCKS = blocks_of(BLAKE3, *(b"%d " % n * 300 for n in range(300)))
KEYS = keys_of(BLOCKS)


class TestTieredStore(BlockStoreContract):
    @pytest.fixture
    async def make_store(self, tmp_path):
        async def make(family):
            near = open_cache(str(tmp_path / "cache"), 16 * MIB)
            return TieredStore(near, MemoryStore(family))

        return make


class TestReplicaStore(BlockStoreContract):
    @pytest.fixture
    async def make_store(self):
        async def make(family):
            return ReplicaStore([MemoryStore(family), MemoryStore(family)])

        return make


def du(path):
    return sum(
        os.lstat(os.path.join(top, name)).st_blocks * 512
        for top, _, names in os.walk(path)
        for name in (".", *names)
    )


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


async def filled():
    far = CountingStore(MemoryStore())
    await far.put_many(BLOCKS)
    return far


async def test_what_was_read_once_is_near_for_the_next_mount(cache):
    far = await filled()
    first = TieredStore(open_cache(cache, 64 * MIB), far)
    second = TieredStore(open_cache(cache, 64 * MIB), far)
    assert await first.get_many(KEYS) == [block.data for block in BLOCKS]
    assert far.counted.blocks_read == 300
    assert await second.get_many(KEYS) == [block.data for block in BLOCKS]
    assert far.counted.blocks_read == 300
    await first.aclose()
    await first.aclose()
    assert await second.get_many(KEYS[:3]) == [block.data for block in BLOCKS[:3]]
    await second.aclose()
    third = TieredStore(open_cache(cache, 64 * MIB), far)
    assert await third.get_many(KEYS) == [block.data for block in BLOCKS]
    assert far.counted.blocks_read == 300
    await third.aclose()


READER = """
import sys
from venti_store.interfaces import Key
from venti_store.kind import Kind
from venti_store.stores.lmdb.cache import open_cache
cache = open_cache(sys.argv[1], 64 << 20)
keys = [Key(bytes.fromhex(text), Kind.DATA) for text in sys.argv[2:]]
print(len(cache.get(keys)))
cache.close()
"""


async def test_another_process_reads_it_too(cache):
    far = await filled()
    store = TieredStore(open_cache(cache, 64 * MIB), far)
    await store.get_many(KEYS[:50])
    args = [sys.executable, "-c", READER, cache, *(key.score.hex() for key in KEYS[:60])]
    done = await trio.run_process(args, capture_stdout=True)
    assert done.stdout == b"50\n"
    await store.aclose()


@pytest.mark.parametrize("seed", range(3))
async def test_the_cap_is_hard_and_the_least_used_go_first(cache, seed):
    chance = random.Random(seed)
    cap = 16 * MIB
    near = open_cache(cache, cap)
    favourites = blocks_of(BLAKE3, *(chance.randbytes(30_000) for _ in range(20)))
    near.put(favourites)
    for _ in range(120):
        sizes = [chance.choice([50, 2000, 9000, 65536, 300_000]) for _ in range(12)]
        near.put(blocks_of(BLAKE3, *(chance.randbytes(size) for size in sizes)))
        assert du(cache) <= cap
        assert len(near.get(keys_of(favourites))) == 20  # used all the time
    # it is used, too: what is kept is a good part of what may be
    assert near.size() > cap // 2
    near.close()
    assert du(cache) <= cap


async def test_one_block_of_the_largest_size_fits_the_smallest_cache(cache):
    near = open_cache(cache, CAP_MIN)
    for _ in range(20):
        blocks = blocks_of(BLAKE3, os.urandom(MIB))
        near.put(blocks)
        assert near.get(keys_of(blocks)) == {keys_of(blocks)[0]: blocks[0].data}
        assert du(cache) <= CAP_MIN
    near.close()
    with pytest.raises(StoreError, match="needs 8 MiB at least"):
        open_cache(cache, CAP_MIN - 1)


async def test_rot_in_the_cache_is_a_miss(cache):
    far = await filled()
    store = TieredStore(open_cache(cache, 64 * MIB), far)
    bad = [Block(block.score, block.kind, b"bad" + bytes(block.data)) for block in BLOCKS]
    store.near.put(bad)
    assert await store.get_many(KEYS) == [block.data for block in BLOCKS]
    assert far.counted.blocks_read == 300
    assert await store.get_many(KEYS) == [block.data for block in BLOCKS]
    assert far.counted.blocks_read == 300
    # of another kind is another block
    assert not store.near.get([Key(KEYS[0].score, Kind.DIRECTORY)])
    await store.aclose()


@pytest.mark.parametrize(("claim", "kept"), [("{boot}", True), ("clean", True), ("other", False)])
async def test_a_cache_that_was_open_when_the_machine_went_down_is_not_trusted(cache, claim, kept):
    near = open_cache(cache, 16 * MIB)
    near.put(BLOCKS)
    near.close()
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: ASYNC230
        boot = file.read().strip()
    with open(os.path.join(cache, "claim"), "w") as file:  # noqa: ASYNC230
        file.write(f"{claim.format(boot=boot)} {16 * MIB}\n")
    near = open_cache(cache, 16 * MIB)
    assert len(near.get(KEYS)) == (300 if kept else 0)
    near.put(BLOCKS)
    assert len(near.get(KEYS)) == 300
    near.close()


async def test_a_smaller_cap_is_kept_too(cache):
    near = open_cache(cache, 64 * MIB)
    near.put(blocks_of(BLAKE3, *(os.urandom(65536) for _ in range(400))))
    assert du(cache) > 16 * MIB
    near.close()
    near = open_cache(cache, 16 * MIB)
    assert du(cache) <= 16 * MIB
    near.close()


def test_kill_9_while_the_cache_is_written(cache):
    script = (
        "import sys, os; from tests.venti_store.test_tiered import *\n"
        "near = open_cache(sys.argv[1], 16 << 20)\n"
        "while True:\n"
        "    near.put(blocks_of(BLAKE3, *(os.urandom(60000) for _ in range(4))))\n"
        "    print(flush=True)\n"
    )
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", script, cache], stdout=subprocess.PIPE, cwd=os.getcwd()
        )
        for _ in range(50 * round_ + 1):
            process.stdout.readline()
        process.kill()
        process.communicate()
        near = open_cache(cache, 16 * MIB)
        near.put(BLOCKS)
        assert len(near.get(KEYS)) == 300
        assert du(cache) <= 16 * MIB
        near.close()


async def test_two_reads_of_one_block_are_one_far_read(cache):
    inner = CountingStore(MemoryStore())
    await inner.put_many(BLOCKS)
    far = FaultyStore(inner, Faults(delay_seconds=0.05))
    store = TieredStore(open_cache(cache, 64 * MIB), far)
    async with trio.open_nursery() as nursery:
        for start in (0, 0, 50, 100):
            nursery.start_soon(store.get_many, KEYS[start : start + 100])
    assert inner.counted.blocks_read == 200
    await store.aclose()


async def test_a_failed_fetch_fails_only_who_asked_and_is_tried_again(cache):
    inner = MemoryStore()
    await inner.put_many(BLOCKS)
    far = FaultyStore(inner, Faults(unreachable=1, delay_seconds=0.01))
    store = TieredStore(open_cache(cache, 64 * MIB), far)

    async def first():
        with pytest.raises(Unreachable):
            await store.get_many(KEYS[:10])
        far.faults = Faults()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(store.get_many, KEYS[5:10])
    far.faults = Faults(unreachable=1)
    assert await store.get_many(KEYS[5:10]) == [block.data for block in BLOCKS[5:10]]
    with pytest.raises(Unreachable):
        await store.get_many(KEYS[15:20])
    await store.aclose()


async def test_put_reaches_the_far_store_and_is_near(cache):
    far = CountingStore(MemoryStore())
    store = TieredStore(open_cache(cache, 64 * MIB), far)
    await store.put_many(BLOCKS)
    await store.sync()
    assert far.counted.blocks_written == 300
    assert far.counted.syncs == 1
    assert await store.get_many(KEYS) == [block.data for block in BLOCKS]
    assert far.counted.blocks_read == 0
    # what is near is not taken for what is there
    far._store.blocks.clear()
    assert await store.have_many(KEYS[:1]) == [False]
    await store.aclose()


async def test_addresses_of_combined_stores(tmp_path, home):
    places.use({"XDG_CACHE_HOME": str(tmp_path / "cache")})
    for name, family in (("a", BLAKE3), ("b", BLAKE3), ("s", SHA1)):
        create(str(tmp_path / name), family)
    store = await open_store(f"cached!16M!{tmp_path}/a")
    await store.put_many(BLOCKS)
    await store.aclose()
    store = await open_store(f"cached!{tmp_path}/a", BLAKE3)
    assert await store.get_many(KEYS) == [block.data for block in BLOCKS]
    await store.aclose()
    assert (tmp_path / "cache/venti/data.mdb").exists()
    store = await open_store(f"any!{tmp_path}/b,{tmp_path}/a,unix!{tmp_path}/nobody")
    assert await store.get_many(KEYS) == [block.data for block in BLOCKS]
    await store.aclose()
    with pytest.raises(HashMismatch):
        await open_store(f"any!{tmp_path}/b,{tmp_path}/s")
    with pytest.raises(Unreachable):
        await open_store(f"any!unix!{tmp_path}/nobody,unix!{tmp_path}/none")
    with pytest.raises(StoreError):
        await open_store("any!")


async def test_replicas_make_up_for_each_other(autojump_clock):
    stores = [MemoryStore(), MemoryStore(), MemoryStore()]
    for number, block in enumerate(BLOCKS):
        await stores[number % 3].put_many([block])
    stores[0].blocks[KEYS[0]] = b"rot"
    await stores[1].put_many(BLOCKS[:1])
    replicas = ReplicaStore(stores)
    assert await replicas.get_many(KEYS) == [block.data for block in BLOCKS]
    assert await replicas.have_many(KEYS) == [True] * 300
    with pytest.raises(NoSuchBlock):
        await replicas.get_many([Key(BLAKE3.score(b"gone"), Kind.DATA)])
    with pytest.raises(HashMismatch):
        ReplicaStore([MemoryStore(BLAKE3), MemoryStore(SHA1)])


async def test_a_replica_that_does_not_answer_is_not_asked_again_at_once(autojump_clock):
    good = MemoryStore()
    await good.put_many(BLOCKS)
    async with serving(MemoryStore()) as there:
        far = await there.client(deadline_seconds=5)
        await there.cut(down=True)
        replicas = ReplicaStore([far, good])
        began = trio.current_time()
        for _ in range(10):
            assert await replicas.get_many(KEYS[:2]) == [b.data for b in BLOCKS[:2]]
        assert trio.current_time() - began == pytest.approx(5)
        # nobody can say that it is not there while one does not answer
        with pytest.raises(Unreachable):
            await replicas.get_many([Key(BLAKE3.score(b"gone"), Kind.DATA)])
        await far._session.aclose()


async def test_a_bad_block_everywhere_is_told():
    faulty = FaultyStore(MemoryStore(), Faults(corrupt=1))
    with pytest.raises(CorruptBlock):
        await ReplicaStore([faulty, faulty]).get_many(KEYS[:1])
