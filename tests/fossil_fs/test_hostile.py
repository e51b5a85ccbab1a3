"""Directories from outside that make no sense: BadTree or one name reported, never anything else."""

import stat
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fossil_fs.directory import Directory, edit_directory, write_directory
from fossil_fs.directory.read import REPORTS_MAX
from fossil_fs.format.direntry import DirEntry, pack_direntry, unpack_direntry
from fossil_fs.format.metablock import MAGIC, pack_metablock
from fossil_fs.format.section import Extra, pack_extra
from fossil_fs.links import Links
from fossil_fs.node import Node
from fossil_fs.record import pack_record
from tests.fossil_fs.kit import DictStore, run
from tests.fossil_fs.test_directory import FAMILIES, listed, small, written
from venti_store.errors import BadTree, NoSuchBlock
from venti_store.hashtree.build import TreeBuilder
from venti_store.hashtree.entry import Entry, pack_entry
from venti_store.interfaces import Batch
from venti_store.score import BLAKE3, SHA1, Family

Raw = tuple[DictStore, Entry, Entry]


def raw(family: Family, blocks: Sequence[bytes], entries: Sequence[Entry | None]) -> Raw:
    """A directory of meta blocks and entries as they are given."""
    store, batch = DictStore(family), Batch(family)
    meta = TreeBuilder(batch, dsize=8192, psize=8192)
    for block in blocks:
        meta.write_block(block)
    source = TreeBuilder(batch, dsize=8192, psize=8192, directory=True)
    for entry in entries:
        source.write(pack_entry(family, entry))
    streams = source.finish(), meta.finish()
    store.take(batch)
    return store, *streams


def of_records(family: Family, records: Sequence[bytes], entries: Sequence[Entry | None]) -> Raw:
    return raw(family, [pack_metablock(records, 8192)], entries)


def file_entry(family: Family, **more: object) -> Entry:
    entry = Entry(family.score(b"x"), 1, 8192, 8192, 0)
    return replace(entry, **more)  # type: ignore[arg-type]


def check_one_bad(made: Raw, name: bytes, good: list[bytes]) -> None:
    """The bad name is reported and left out of the list; without a report the list is refused."""
    reported: list[bytes] = []
    directory = Directory(*made, report=lambda name, error: reported.append(name))
    assert [found for found, _ in run(listed(directory))] == good
    assert reported == [name]
    with pytest.raises(BadTree):
        run(listed(Directory(*made)))


@FAMILIES
@pytest.mark.parametrize("bad", [b"a/b", b"a\0b", b".", b"..", b"", b"a" * 256])
def test_bad_names(family: Family, bad: bytes) -> None:
    records = sorted(
        (name, pack_record(family, name, small(family, 1), slot))
        for slot, name in enumerate([b"\x01first", bad, b"zz"])
    )
    good = [name for name, _ in records if name != bad]
    made = of_records(family, [data for _, data in records], [file_entry(family)] * 3)
    if bad == b"":
        with pytest.raises(BadTree):
            run(listed(Directory(*made)))
        return
    check_one_bad(made, bad if family is BLAKE3 else b"", good)


def patched(family: Family, **more: object) -> bytes:
    entry = unpack_direntry(pack_record(family, b"bad", small(family, 1), 1))
    return pack_direntry(replace(entry, **more))  # type: ignore[arg-type]


BAD_RECORDS = {
    "slot out of range": {"entry": 4},
    "slot far out of range": {"entry": 0xFFFFFFFF},
    "unused slot": {"entry": 3},
    "generation": {"gen": 1},
    "directory by its mode": {"mode": 0o100755, "mentry": 0},
    "file by its mode": {"entry": 2},
    "two types": {"mode": 0o140755},
    "no such extra": {"sections": ((0x55, b"\x09"),)},
    "attributes in no slot": {"sections": ((0x55, pack_extra(Extra(xattr_slot=99))),)},
    "attributes in a directory": {"sections": ((0x55, pack_extra(Extra(xattr_slot=2))),)},
    "device": {"mode": 1 << 21, "sections": ((0x55, pack_extra(Extra(device=(1 << 12, 0)))),)},
    "device by a text": {"mode": 1 << 21, "sections": ()},
}


@FAMILIES
@pytest.mark.parametrize("what", BAD_RECORDS)
def test_bad_records(family: Family, what: str) -> None:
    good = pack_record(family, b"good", small(family, 1), 0)
    entries = [file_entry(family), file_entry(family), file_entry(family, directory=True), None]
    made = of_records(family, [patched(family, **BAD_RECORDS[what]), good], entries)
    if what == "device by a text":
        made[0].blocks[family.score(b"x"), 13] = b"x"
    check_one_bad(made, b"bad", [b"good"])
    directory = Directory(*made)
    with pytest.raises(BadTree):
        run(directory.lookup(b"bad"))
    assert run(directory.lookup(b"good")) is not None
    assert run(directory.lookup(b"none")) is None


def test_links_that_lead_nowhere() -> None:
    stub = Node(stat.S_IFREG, qid=5, link=7)
    for family in (BLAKE3, SHA1):
        record = pack_direntry(
            DirEntry(b"bad", mode=0, sections=((0x55, pack_extra(Extra(link=7))),))
        )
        made = of_records(family, [record], [])
        if family is SHA1:
            check_one_bad(made, b"bad", [])
    store, batch = DictStore(BLAKE3), Batch(BLAKE3)
    looped = write_directory(batch, [(b"%016x" % 7, replace(stub, link=8))])
    names = write_directory(batch, [(b"bad", stub), (b"other", replace(stub, link=9))])
    store.take(batch)
    directory = Directory(store, *names, Links(store, *looped))
    for name in (b"bad", b"other"):
        with pytest.raises(BadTree, match="link"):
            run(directory.lookup(name))


def test_unordered_native_directory() -> None:
    records = [pack_record(BLAKE3, name, small(BLAKE3, 1), 0) for name in (b"b", b"a")]
    for blocks in (
        [pack_metablock(records, 8192)],
        [pack_metablock([data], 8192) for data in records],
    ):
        with pytest.raises(BadTree, match="order"):
            run(listed(Directory(*raw(BLAKE3, blocks, [file_entry(BLAKE3)]))))


def test_unordered_classic_directory_is_read_whole() -> None:
    names = [b"n%d" % n for n in (5, 3, 9, 1, 7, 2)]
    blocks = [pack_metablock([pack_record(SHA1, name, small(SHA1, 1), 0)], 8192) for name in names]
    blocks.insert(3, pack_metablock([], 8192))
    directory = Directory(*raw(SHA1, blocks, [file_entry(SHA1)]))
    for name in names:
        assert run(directory.lookup(name)) is not None
    assert run(directory.lookup(b"n4")) is None
    assert [name for name, _ in run(listed(directory))] == sorted(names)
    assert [name for name, _ in run(listed(directory, b"n5"))] == [b"n7", b"n9"]


def test_names_that_stand_twice() -> None:
    record = pack_record(SHA1, b"a", small(SHA1, 1), 0)
    blocks = [pack_metablock([record, record], 8192), pack_metablock([record], 8192)]
    reported: list[bytes] = []
    made = raw(SHA1, blocks, [file_entry(SHA1)])
    directory = Directory(*made, report=lambda name, error: reported.append(name))
    assert len(run(listed(directory))) == 1
    assert reported == [b"a", b"a"]
    with pytest.raises(BadTree, match="order"):
        run(listed(Directory(*raw(BLAKE3, blocks, [file_entry(BLAKE3)]))))


@FAMILIES
def test_streams_of_nothing_and_endless_ones(family: Family) -> None:
    store = DictStore(family)
    source = Entry(family.nothing, 0, 8192, 8192, 0, True)
    huge = Entry(family.nothing, 8192 << 28, 8192, 8192, 4)
    for meta in (replace(huge, size=8192, depth=0), huge):
        with pytest.raises(BadTree):
            run(listed(Directory(store, source, meta)))
        with pytest.raises(BadTree):
            run(Directory(store, source, meta).lookup(b"a"))
    with pytest.raises(BadTree):
        Directory(store, replace(source, directory=False), huge)
    with pytest.raises(BadTree):
        Directory(store, source, source)
    missing = replace(huge, size=8192, depth=0, score=family.score(b"missing"))
    with pytest.raises(NoSuchBlock):
        run(Directory(store, source, missing).lookup(b"a"))


def test_one_block_many_times_ends() -> None:
    """A few blocks can claim to be billions: the second of the same is noticed, or their number."""
    block = pack_metablock([pack_record(SHA1, b"a", small(SHA1, 1), 0)], 8192)
    for family, number in ((BLAKE3, 1000), (SHA1, REPORTS_MAX + 10)):
        made = raw(family, [block] * number, [])
        ignored = Directory(*made, report=lambda name, error: None)
        with pytest.raises(BadTree):
            run(listed(ignored))


@settings(max_examples=200)
@pytest.mark.parametrize("family", [BLAKE3, SHA1])
@given(st.data())
def test_any_changed_byte(family: Family, data: st.DataObject) -> None:
    """Whatever a byte of a directory's blocks becomes: an answer, BadTree or NoSuchBlock."""
    entries = {b"n%02d" % n: small(family, n) for n in range(5)}
    store, source, meta = written(family, entries)
    key = data.draw(st.sampled_from(sorted(store.blocks)))
    block = bytearray(store.blocks[key])
    at = data.draw(st.integers(0, len(block) - 1))
    block[at] = data.draw(st.integers(0, 255))
    store.blocks[key] = bytes(block)
    reported: list[bytes] = []
    directory = Directory(store, source, meta, report=lambda name, error: reported.append(name))
    changes = {b"n02": small(family, 77)}
    for work in (
        lambda: run(listed(directory)),
        lambda: run(directory.lookup(b"n03")),
        lambda: run(edit_directory(store, Batch(family), source, meta, changes)),
    ):
        try:
            work()
        except (BadTree, NoSuchBlock):
            continue


def test_magic_of_fossil() -> None:
    assert pack_metablock([], 256)[:4] == MAGIC.to_bytes(4)
