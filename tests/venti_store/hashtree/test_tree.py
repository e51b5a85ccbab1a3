"""Building and reading: both agree with plain bytes, over both families, several levels, holes."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9.waiting import run_now
from tests.venti_store.hashtree.support import (
    RECORDED,
    SMALL,
    CountingStore,
    build,
    contents,
    families,
    recorded,
)
from venti_store.errors import BadTree, TreeTooLarge
from venti_store.hashtree.build import TreeBuilder, build_tree
from venti_store.hashtree.cache import PointerCache
from venti_store.hashtree.entry import Entry, entry_size, pack_entry
from venti_store.hashtree.read import leaf_keys, read, read_blocks
from venti_store.hashtree.slots import read_slots, slot_count, unpack_leaf
from venti_store.hashtree.zero import extend, truncate
from venti_store.interfaces import Batch
from venti_store.kind import Kind, pointer
from venti_store.score import BLAKE3, SHA1, Family, Score


@given(families, contents(), st.data())
def test_what_was_built_is_read(family: Family, data: bytes, draw: st.DataObject) -> None:
    store = CountingStore(family)
    entry = build(store, data)
    assert entry.size == len(data)
    assert run_now(read(store, entry, 0, len(data) + 1)) == data
    offset = draw.draw(st.integers(0, len(data) + 300))
    length = draw.draw(st.integers(0, 3 * SMALL))
    assert run_now(read(store, entry, offset, length)) == data[offset : offset + length]


@given(families, contents(), st.lists(st.integers(0, 3000)))
def test_the_pieces_it_is_written_in_do_not_matter(
    family: Family, data: bytes, lengths: list[int]
) -> None:
    store, again = CountingStore(family), CountingStore(family)
    builder = TreeBuilder(again, dsize=SMALL, psize=SMALL)
    at = 0
    for length in lengths:
        piece = data[at : at + length]
        if piece.strip(b"\0"):
            builder.write(piece)
        else:
            builder.skip(len(piece))
        at += length
    builder.write(data[at:])
    assert builder.finish() == build(store, data)
    assert again.blocks == store.blocks
    assert build_tree(again, data, dsize=SMALL, psize=SMALL) == build(store, data)


@given(families, contents())
def test_children_come_before_parents(family: Family, data: bytes) -> None:
    batch = Batch(family)
    builder = TreeBuilder(batch, dsize=SMALL, psize=SMALL)
    builder.write(data)
    builder.finish()
    seen = {family.nothing}
    for block in batch.take():
        if block.kind is not Kind.DATA:
            scores = bytes(block.data)
            size = family.size
            assert {scores[at : at + size] for at in range(0, len(scores), size)} <= seen
        seen.add(block.score)


@pytest.mark.parametrize("family", [SHA1, BLAKE3], ids=lambda f: f.name)
@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_the_sizes_where_depth_grows(family: Family, depth: int, extra: int) -> None:
    size = SMALL * (SMALL // family.size) ** depth + extra
    data = bytes(n % 251 + 1 for n in range(512)) * (size // 512 + 1)
    store = CountingStore(family)
    entry = build(store, data[:size])
    assert entry.depth == depth + (extra > 0)
    assert run_now(read(store, entry, max(size - 300, 0), 400)) == data[max(size - 300, 0) : size]


def test_a_hole_of_terabytes_costs_a_few_blocks() -> None:
    store = CountingStore(BLAKE3)
    builder = TreeBuilder(store, dsize=65536, psize=8192)
    builder.write(b"start")
    builder.skip((200 << 40) + 12345)
    builder.write(b"end")
    entry = builder.finish()
    assert entry.size == (200 << 40) + 12353
    assert run_now(read(store, entry, entry.size - 5, 9)) == b"\0\0end"
    assert run_now(read(store, entry, 0, 7)) == b"start\0\0"
    assert run_now(read(store, entry, 100 << 40, 1 << 20)) == bytes(1 << 20)
    assert len(store.blocks) == 2 + entry.depth * 2 - 1


def test_only_zeros_are_no_block_at_all() -> None:
    store = CountingStore(SHA1)
    entry = build(store, bytes(100_000))
    assert (entry.score, entry.depth, entry.size) == (SHA1.nothing, 3, 100_000)
    assert not store.blocks
    assert run_now(read(store, entry, 5, 99_990)) == bytes(99_990)


@pytest.mark.parametrize(("family", "fan"), [(SHA1, 12), (BLAKE3, 8)])
def test_the_largest_tree_and_one_leaf_more(family: Family, fan: int) -> None:
    builder = TreeBuilder(Batch(family), dsize=SMALL, psize=SMALL)
    builder.skip(fan**7 * SMALL - 1)
    builder.write(b"x")
    assert builder.finish().depth == 7
    builder = TreeBuilder(Batch(family), dsize=SMALL, psize=SMALL)
    builder.skip(fan**7 * SMALL)
    with pytest.raises(TreeTooLarge):
        builder.write(b"x")
        builder.finish()


def test_two_to_the_48_bytes_are_one_too_many() -> None:
    builder = TreeBuilder(Batch(BLAKE3), dsize=65536, psize=8192)
    builder.skip((1 << 48) - 1)
    assert builder.finish().size == (1 << 48) - 1
    builder = TreeBuilder(Batch(BLAKE3), dsize=65536, psize=8192)
    with pytest.raises(TreeTooLarge):
        builder.skip(1 << 48)
        builder.finish()


def test_whole_leaves_are_taken_truncated() -> None:
    store = CountingStore(SHA1)
    builder = TreeBuilder(store, dsize=SMALL, psize=SMALL)
    builder.write_block(b"a")
    builder.write_block(b"")
    builder.write(b"b")
    entry = builder.finish()
    assert run_now(read(store, entry, 0, 999)) == b"a" + bytes(511) + b"b"
    with pytest.raises(ValueError, match="must start where a leaf does"):
        TreeBuilder(store, dsize=SMALL, psize=SMALL).write_block(bytes(257))


@pytest.mark.parametrize("sizes", [(255, 256), (256, 255), (256, 57345), (57345, 256)])
def test_block_sizes_out_of_range_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="256 to 57344"):
        TreeBuilder(Batch(SHA1), dsize=sizes[0], psize=sizes[1])


@given(families, st.integers(0, 40), st.data())
def test_slots_of_a_directory_are_read_as_written(
    family: Family, count: int, draw: st.DataObject
) -> None:
    store = CountingStore(family)
    wanted = [
        None if n % 5 == 4 else Entry(family.score(b"%d" % n), n, 256, 256, 0, gen=n)
        for n in range(count)
    ]
    builder = TreeBuilder(store, dsize=SMALL, psize=SMALL, directory=True)
    for entry in wanted:
        builder.write(pack_entry(family, entry))
    top = builder.finish()
    assert top.directory
    assert slot_count(family, top) == count
    assert run_now(read_slots(store, top, 0, 100)) == wanted
    first, number = draw.draw(st.integers(0, 45)), draw.draw(st.integers(0, 9))
    assert run_now(read_slots(store, top, first, number)) == wanted[first : first + number]
    assert (
        all(len(b) <= SMALL - SMALL % entry_size(family) for b in store.blocks.values())
        or top.depth
    )


def test_a_directory_of_data_is_refused() -> None:
    store = CountingStore(SHA1)
    entry = build(store, b"x")
    with pytest.raises(BadTree, match="not a directory"):
        run_now(read_slots(store, entry, 0, 1))


def test_a_depth_greater_than_needed_is_read() -> None:
    store = CountingStore(SHA1)
    entry = build(store, b"a" * 300)
    top = entry.score
    for level in range(2, 6):
        top = store.put(pointer(level), top)
    deep = Entry(top, 300, SMALL, SMALL, 5)
    assert run_now(read(store, deep, 0, 400)) == b"a" * 300


def test_pointer_blocks_of_a_level_are_fetched_together_and_cached() -> None:
    store = CountingStore(BLAKE3)
    entry = build(store, bytes(n % 250 + 1 for n in range(100_000)))
    cache = PointerCache()
    first = run_now(leaf_keys(store, entry, 0, 400, cache))
    assert [len(call) for call in store.calls] == [1, 7, 49][: entry.depth]
    store.calls.clear()
    assert run_now(leaf_keys(store, entry, 0, 400, cache)) == first
    assert not store.calls
    assert first[391:] == [None] * 9


def test_the_cache_is_bounded_and_forgets_the_oldest() -> None:
    cache = PointerCache(1000)
    for n in range(50):
        cache.put(Score(b"%d" % n), bytes(100))
        cache.get(Score(b"0"))
    assert cache.size == 1000
    assert cache.get(Score(b"0")) is not None
    assert cache.get(Score(b"1")) is None
    cache.put(Score(b"large"), bytes(1001))
    assert cache.get(Score(b"large")) is None


def test_blocks_that_do_not_fit_are_refused() -> None:
    store = CountingStore(SHA1)
    leaf = store.put(Kind.DATA, b"x" * 257)
    with pytest.raises(BadTree, match="leaf of 257 bytes"):
        run_now(read(store, Entry(leaf, 256, SMALL, SMALL, 0), 0, 256))
    top = store.put(pointer(1), leaf * 13)
    with pytest.raises(BadTree, match="pointer block of 260 bytes"):
        run_now(read(store, Entry(top, 600, SMALL, SMALL, 1), 0, 256))
    fits = store.put(pointer(1), (leaf * 13)[:256])  # twelve scores, and a part of one
    with pytest.raises(BadTree, match="leaf of 257 bytes"):
        run_now(read_blocks(store, Entry(fits, 3072, SMALL, SMALL, 1), 11, 1))


@given(families, contents(20_000))
def test_truncated_blocks_extend_to_what_they_were(family: Family, data: bytes) -> None:
    leaf = data[:8192]
    assert extend(Kind.DATA, truncate(Kind.DATA, leaf, family), len(leaf), family) == leaf
    scores = b"".join(
        family.nothing if byte == 0 else family.score(bytes([byte])) for byte in data[:50]
    )
    short = truncate(pointer(1), scores + b"part", family)
    assert not bytes(short).endswith(family.nothing)
    assert extend(pointer(1), short, len(scores) + 4, family) == scores + bytes(4)


FILES = {  # of the recorded tree: size, sha256
    40008: "fad672e95d6bd1b4ce73570c6b62f8f1300d807e0196eef3445d8dd3de1ee3a3",
    20480: "a86f2d59de181209c5b0dffb4e964f514a781d9fa464b14c81bb9785c9f5f853",
    30000: hashlib.sha256(bytes(30000)).hexdigest(),
    9003: hashlib.sha256(b"abc" + bytes(9000)).hexdigest(),
}


@pytest.mark.parametrize("name", ["vac-blocks", "fossil-blocks"])
def test_files_of_recorded_archives_are_read_and_built_again(name: str) -> None:
    store = recorded(name)
    found = {}
    for key in list(store.blocks):
        if key.kind is not Kind.DIRECTORY:
            continue
        for entry in unpack_leaf(SHA1, store.blocks[key], 8192):
            if entry is None or entry.directory or entry.size not in FILES:
                continue
            data = run_now(read(store, entry, 0, entry.size))
            found[entry.size] = hashlib.sha256(data).hexdigest()
            again = CountingStore(SHA1)
            built = build(again, data, entry.dsize, entry.psize)
            assert replace(entry, gen=0) == built
            assert again.blocks.items() <= store.blocks.items()
    assert found == FILES


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_blocks_are_truncated_as_ours(name: str) -> None:
    for key, block in recorded(name).blocks.items():
        whole = block if key.kind is Kind.ROOT else extend(key.kind, block, 8192, SHA1)
        assert truncate(key.kind, whole, SHA1) == block
        assert SHA1.score(block) == key.score
