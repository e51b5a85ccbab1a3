"""A directory that was written is read back, name by name and as a list, and is canonical."""

import stat
from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fossil_fs import record
from fossil_fs.directory import Directory, DirectoryWriter, edit_directory, write_directory
from fossil_fs.directory import meta as meta_stream
from fossil_fs.directory.guess import guess
from fossil_fs.node import Node
from tests.fossil_fs.kit import DictStore, run
from tests.fossil_fs.nodes import names, nodes, short_names, stubs
from venti_store.errors import BadTree
from venti_store.hashtree.build import TreeBuilder
from venti_store.hashtree.entry import Entry
from venti_store.hashtree.read import read_blocks
from venti_store.interfaces import Batch
from venti_store.score import BLAKE3, SHA1, Family

FAMILIES = pytest.mark.parametrize("family", [BLAKE3, SHA1], ids=["native", "classic"])


def small(family: Family, number: int) -> Node:
    data = b"%d" % number
    entry = Entry(family.score(data), len(data), 8192, 8192, 0)
    return Node(
        stat.S_IFREG | 0o644, 1000, 100, number * 10**9 + 5, number, len(data), content=entry
    )


def written(family: Family, entries: dict[bytes, Node]) -> tuple[DictStore, Entry, Entry]:
    store, batch = DictStore(family), Batch(family)
    source, meta = write_directory(batch, sorted(entries.items()))
    store.take(batch)
    return store, source, meta


async def listed(directory: Directory, after: bytes = b"") -> list[tuple[bytes, Node]]:
    return [item async for batch in directory.entries(after) for item in batch]


def directories(
    family: Family, keys: st.SearchStrategy[bytes]
) -> st.SearchStrategy[dict[bytes, Node]]:
    values = nodes(family) if family is SHA1 else nodes(family) | stubs()
    return st.dictionaries(keys, values, max_size=12)


@FAMILIES
@given(st.data())
def test_reads_what_was_written(family: Family, data: st.DataObject) -> None:
    entries = data.draw(directories(family, names | short_names))
    store, source, meta = written(family, entries)
    directory = Directory(store, source, meta)
    assert run(listed(directory)) == sorted(entries.items())
    for name, node in entries.items():
        assert run(directory.lookup(name)) == node
    other = data.draw(names | short_names)
    assert run(directory.lookup(other)) == entries.get(other)
    assert run(listed(directory, other)) == sorted(
        item for item in entries.items() if item[0] > other
    )


@FAMILIES
@given(st.data())
def test_edit_is_write_of_the_result(family: Family, data: st.DataObject) -> None:
    entries = data.draw(directories(family, short_names))
    store, source, meta = written(family, entries)
    known = st.sampled_from(sorted(entries)) if entries else short_names
    value = nodes(family) if family is SHA1 else nodes(family) | stubs()
    changes = data.draw(st.dictionaries(known | short_names, st.none() | value, max_size=5))
    expected = {k: v for k, v in {**entries, **changes}.items() if v is not None}
    batch = Batch(family)
    edited = run(edit_directory(store, batch, source, meta, changes))
    store.take(batch)
    assert edited == written(family, expected)[1:]
    assert run(listed(Directory(store, *edited))) == sorted(expected.items())


def counted(family: Family, number: int) -> dict[bytes, Node]:
    return {b"file%06d" % n: small(family, n) for n in range(number)}


@FAMILIES
@pytest.mark.parametrize("number", [1000, 100_000])
def test_edit_in_place(family: Family, number: int) -> None:
    entries = counted(family, number)
    store, source, meta = written(family, entries)
    name = b"file%06d" % (number // 3)
    changed = small(family, 7777)
    store.reads, batch = 0, Batch(family)
    edited = run(edit_directory(store, batch, source, meta, {name: changed}))
    assert store.reads <= 24
    assert len(batch.blocks) <= 6
    assert edited == written(family, entries | {name: changed})[1:]


@FAMILIES
def test_lookup_in_a_large_directory_reads_few_blocks(family: Family) -> None:
    store, source, meta = written(family, counted(family, 20_000))
    for number in (0, 7, 19_999, 10_000):
        store.reads = 0
        found = run(Directory(store, source, meta).lookup(b"file%06d" % number))
        assert found == small(family, number)
        assert store.reads <= 11
    store.reads = 0
    assert run(Directory(store, source, meta).lookup(b"file004567x")) is None
    if family is BLAKE3:
        assert store.reads <= 9


def test_neighbours_are_found_without_another_read() -> None:
    store, source, meta = written(BLAKE3, counted(BLAKE3, 20_000))
    directory = Directory(store, source, meta)
    assert run(directory.lookup(b"file010000")) is not None
    store.reads = 0
    for number in range(10_001, 10_010):
        assert run(directory.lookup(b"file%06d" % number)) == small(BLAKE3, number)
    assert store.reads <= 2  # where a block of names or of entries ends


def test_names_are_found_whatever_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_stream, "FENCES_MAX", 3)
    entries = counted(BLAKE3, 20_000)
    store, source, meta = written(BLAKE3, entries)
    directory = Directory(store, source, meta)
    for number in [*range(19_999, 0, -997), 0, 5, *range(3, 20_000, 1999)]:
        name = b"file%06d" % number
        assert run(directory.lookup(name)) == entries[name]
        assert run(directory.lookup(name + b"x")) is None


@FAMILIES
def test_blocks_in_no_order(family: Family) -> None:
    entries = counted(family, 2000)
    store, source, meta = written(family, entries)
    blocks = run(read_blocks(store, meta, 0, meta.leaves))
    batch = Batch(family)
    builder = TreeBuilder(batch, dsize=meta.dsize, psize=meta.psize)
    for block in [blocks[0], *blocks[-2:0:-1], blocks[-1]]:
        builder.write_block(block.ljust(meta.dsize, b"\0"))
    shuffled = builder.finish()
    store.take(batch)
    directory = Directory(store, source, shuffled)
    if family is SHA1:  # others keep no order
        for name, node in entries.items():
            assert run(directory.lookup(name)) == node
        return
    with pytest.raises(BadTree):
        for name in entries:
            run(directory.lookup(name))


def test_lookup_among_unevenly_spread_names_is_bounded_by_twice_the_halvings() -> None:
    entries = {b"%0200d" % 7**number: small(BLAKE3, number) for number in range(236)} | {
        b"%0200d" % number: small(BLAKE3, number) for number in range(1000, 20_000)
    }
    store, source, meta = written(BLAKE3, entries)
    most = 2 * meta.leaves.bit_length() + 9
    for name in [*list(entries)[:236], b"%0200d" % 10_007]:
        store.reads = 0
        assert run(Directory(store, source, meta).lookup(name)) == entries[name]
        assert store.reads <= most


@given(st.lists(short_names | names, min_size=3, max_size=3, unique=True))
def test_a_guess_lies_between(three: list[bytes]) -> None:
    low, name, high = sorted(three)
    assert 0 <= guess(low, low, high) <= guess(name, low, high) <= 1


def test_a_guess_before_both_is_below_nothing() -> None:
    assert guess(b"f0100", b"f0900", b"f1000") == pytest.approx(-8)
    assert guess(b"a", b"b", b"b") == 0.5


@pytest.mark.parametrize("shape", [b"%d", b"file%06d", b"%08x", b"img %d.jpg"])
def test_a_guess_among_counted_names_is_near(shape: bytes) -> None:
    low, high = shape % 100_000, shape % 900_000
    for number in (100_000, 123_456, 555_555, 899_999):
        assert guess(shape % number, low, high) == pytest.approx((number - 1e5) / 8e5, abs=0.01)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b", b"x" * 256])
def test_writes_no_bad_name(name: bytes) -> None:
    with pytest.raises(BadTree):
        DirectoryWriter(Batch(BLAKE3)).add(name, small(BLAKE3, 1))


def test_writes_in_order_only() -> None:
    writer = DirectoryWriter(Batch(BLAKE3))
    writer.add(b"b" * 255, small(BLAKE3, 1))
    for name in (b"a", b"b" * 255):
        with pytest.raises(ValueError, match="after"):
            writer.add(name, small(BLAKE3, 1))


def test_empty_directory() -> None:
    store, source, meta = written(BLAKE3, {})
    assert (source.size, meta.size, store.blocks) == (0, 0, {})
    for directory in (Directory(store, source, meta), Directory(store, None, None)):
        assert run(listed(directory)) == []
        assert run(directory.lookup(b"x")) is None


@FAMILIES
async def test_a_rewrite_lets_others_run(family: Family) -> None:
    """A new name in a large directory is a long piece of work, done in short steps."""
    store, source, meta = written(family, counted(family, 5000))
    batch, turns = Batch(family), 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await edit_directory(store, batch, source, meta, {b"new": small(family, 1)})
        nursery.cancel_scope.cancel()
    assert turns >= 5


@FAMILIES
def test_names_come_and_go_among_many(family: Family) -> None:
    """What stays is moved as bytes where it can be; the result is that of writing it all."""
    entries = counted(family, 700)
    empty = Entry(family.nothing, 0, 8192, 8192, 0, True)
    for number in range(0, 700, 7):
        entries[b"file%06d.d" % number] = Node(
            stat.S_IFDIR | 0o755, content=empty, meta=replace(empty, directory=False)
        )
        entries[b"file%06d.p" % number] = Node(stat.S_IFIFO | 0o600)
        entries[b"file%06d.x" % number] = replace(
            small(family, number), xattrs=((b"user.a", b"b"),)
        )
    store, source, meta = written(family, entries)
    changes: dict[bytes, Node | None] = {
        b"a": small(family, 1),
        b"file000100": None,
        b"file000300": entries[b"file000007.d"],
        b"zz": small(family, 2),
    }
    edited = run(edit_directory(store, Batch(family), source, meta, changes))
    expected = {k: v for k, v in {**entries, **changes}.items() if v is not None}
    assert edited == written(family, expected)[1:]


@given(nodes(BLAKE3) | nodes(SHA1), names, st.integers(0, 2**31))
def test_the_short_way_to_a_record_gives_the_same_bytes(node: Node, name: bytes, slot: int) -> None:
    for family in (BLAKE3, SHA1):
        packed = record.pack_inode(family, name, node, slot)
        assert packed == record._pack_any(family, name, node, slot, None, None)
