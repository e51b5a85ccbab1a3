"""Metadata is there before it is asked for: a walk over a far store pays its delay once a level."""

from dataclasses import replace

import pytest
import trio
import trio.testing

from venti_store.hashtree.build import TreeBuilder
from venti_store.hashtree.entry import pack_entry
from venti_store.hashtree.read import read
from venti_store.hashtree.slots import read_slots, slot_count
from venti_store.interfaces import Batch, Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3, SHA1
from venti_store.stores.counting import CountingStore
from venti_store.stores.faulty import Faults, FaultyStore
from venti_store.stores.lmdb.cache import open_cache
from venti_store.stores.memory import MemoryStore
from venti_store.stores.prefetch import WAITING_MAX, Prefetcher
from venti_store.stores.tiered import TieredStore

MIB = 1 << 20


def stream(sink, data, *, directory=False):
    builder = TreeBuilder(sink, dsize=8192, psize=8192, directory=directory)
    builder.write(data)
    return builder.finish()


def make_directory(sink, name, widths):
    """Make a directory with as many below it as `widths` says, level by level, and three files."""
    slots = b""
    for n in range(widths[0] if widths else 0):
        source, meta = make_directory(sink, f"{name}/{n}", widths[1:])
        slots += pack_entry(sink.family, source) + pack_entry(sink.family, meta)
    for n in range(3):
        slots += pack_entry(sink.family, stream(sink, f"file {n} of {name} ".encode() * 999))
    return stream(sink, slots, directory=True), stream(sink, f"meta of {name} ".encode() * 1000)


async def walk(store, source, meta):
    """Look at everything but files, one thing after the other, as find does."""
    count = 1
    await read(store, meta, 0, meta.size)
    slots = await read_slots(store, source, 0, slot_count(store.family, source))
    for index, entry in enumerate(slots):
        if entry is not None and entry.directory:
            count += await walk(store, entry, slots[index + 1])
    return count


@pytest.mark.parametrize("family", [BLAKE3, SHA1], ids=lambda family: family.name)
async def test_a_walk_pays_the_delay_once_a_level(tmp_path, autojump_clock, family):
    sink = Batch(family)
    top = make_directory(sink, "top", [9, 7, 2])
    inner = CountingStore(MemoryStore(family))
    await inner.put_many(sink.take())
    far = FaultyStore(inner, Faults(delay_seconds=0.04))
    spent, read_blocks = {}, {}
    for ahead in (False, True):
        inner.counted.blocks_read = 0
        near = open_cache(str(tmp_path / f"cache-{ahead}"), 16 * MIB)
        store = TieredStore(near, far, ahead=ahead)
        began = trio.current_time()
        assert await walk(store, *top) == 1 + 9 + 9 * 7 + 9 * 7 * 2
        spent[ahead] = trio.current_time() - began
        await trio.testing.wait_all_tasks_blocked()
        read_blocks[ahead] = inner.counted.blocks_read
        await store.aclose()
    assert spent[False] > 0.04 * 2 * 199
    assert spent[True] < spent[False] / 6
    # nothing but metadata was fetched, and nothing twice
    assert read_blocks[True] == read_blocks[False]


async def test_hostile_blocks_and_endless_trees_are_bounded(autojump_clock):
    fetched = []

    async def fetch(keys):
        fetched.extend(keys)
        await trio.sleep(1)
        return {key: bytes(range(256)) * 32 for key in keys}

    ahead = Prefetcher(BLAKE3, fetch)
    sink = Batch(BLAKE3)
    for n in range(60):
        below = [stream(sink, b"%d %d" % (n, m)) for m in range(150)]
        entries = b"".join(pack_entry(BLAKE3, replace(e, directory=True)) for e in below)
        block = stream(sink, entries, directory=True)
        ahead.look(Key(block.score, Kind.DIRECTORY), entries)
        ahead.look(Key(BLAKE3.score(b"%d" % n), Kind.DIRECTORY), b"\xff" * 8192)
        ahead.look(Key(BLAKE3.score(b"%d" % n), Kind.ROOT), b"\xff" * 324)
    assert len(ahead._waiting) <= WAITING_MAX
    await trio.sleep(1000)
    assert not ahead._waiting
    assert 1000 < len(fetched) <= 60 * 150
    ahead.close()


async def test_a_fault_of_the_far_store_is_nobodys_error(autojump_clock, tmp_path):
    sink = Batch(BLAKE3)
    source, meta = make_directory(sink, "top", [9, 2])
    inner = MemoryStore()
    await inner.put_many(sink.take())
    store = TieredStore(open_cache(str(tmp_path / "c"), 16 * MIB), inner)
    for key in [key for key in inner.blocks if key[0] not in (source.score, meta.score)]:
        del inner.blocks[key]
    assert len(await read_slots(store, source, 0, 3)) == 3
    await trio.testing.wait_all_tasks_blocked()
    await store.aclose()
