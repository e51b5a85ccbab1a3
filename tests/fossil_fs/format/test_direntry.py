"""DirEntry: recorded bytes, inverse, limits, and what is refused."""

import ast
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.format.direntry import (
    FIELDS,
    STRING,
    DirEntry,
    pack_direntry,
    record_name,
    unpack_direntry,
)
from fossil_fs.format.metablock import MAGIC, MAGIC_OLD, unpack_metablock
from tests.fossil_fs.kit import load_archive, load_listing
from venti_store.errors import BadTree

GOLDEN = bytes.fromhex(
    "1c4d9072 0009 0003 616263 00000005 00000001 00000006 00000002 0000000000000007"
    "0001 75 0002 6767 0000 5f5e1000 00000003 5f5e1001 5f5e1002 000081a4"
    "03 0010 00000000000000080000000000000009 55 0001 01"
)
GOLDEN_ENTRY = DirEntry(
    b"abc", 5, 1, 6, 2, 7, b"u", b"gg", b"", 1600000000, 3, 1600000001, 1600000002, 0o100644,
    sections=((3, bytes(7) + b"\x08" + bytes(7) + b"\x09"), (0x55, b"\x01")),
)  # fmt: skip
COLUMNS = {
    "uid": str, "gid": str, "mid": str, "mtime": int, "atime": int, "ctime": int, "mcount": int,
    "qid": int, "entry": int, "gen": int, "mentry": int, "mgen": int,
}  # fmt: skip


def strategy(version: int) -> st.SearchStrategy[DirEntry]:
    """Entries of one version, made from the table of fields."""
    values: dict[str, st.SearchStrategy[object]] = {}
    for field in FIELDS:
        if field.name and version in field.versions:
            bits = {"I": 32, "Q": 64}.get(field.code, 0)
            text = st.binary(max_size=300)
            values[field.name] = text if field.code == STRING else st.integers(0, 2**bits - 1)
    other = st.tuples(
        st.integers(0, 255).filter(lambda number: number not in (1, 3, 0x55)),
        st.binary(max_size=50),
    )
    known = {1: 12, 3: 16}
    fixed = [
        st.binary(min_size=n, max_size=n).map(lambda data, k=k: (k, data)) for k, n in known.items()
    ]
    sections = st.lists(other, max_size=3).flatmap(
        lambda many: st.tuples(*fixed).map(lambda few: tuple(many) + few[: len(many)])
    )
    return st.builds(DirEntry, **values, version=st.just(version), sections=sections)  # type: ignore[arg-type]


def with_mentry(entry: DirEntry) -> DirEntry:
    values = {name: getattr(entry, name) for name in DirEntry.__slots__}
    return DirEntry(**values | {"mentry": (entry.entry + 1) % 2**32})


def test_golden() -> None:
    assert pack_direntry(GOLDEN_ENTRY) == GOLDEN
    assert unpack_direntry(GOLDEN) == GOLDEN_ENTRY
    assert record_name(GOLDEN) == b"abc"
    assert GOLDEN_ENTRY.qid_offset == 8


@pytest.mark.parametrize("version", [7, 8, 9])
@given(st.data())
def test_inverse(version: int, data: st.DataObject) -> None:
    entry = data.draw(strategy(version))
    if version < 9:
        entry = with_mentry(entry)
    packed = pack_direntry(entry)
    assert unpack_direntry(packed) == entry
    assert unpack_direntry(memoryview(packed)) == entry


@pytest.mark.parametrize("name", ["vac", "vac-a", "vac-a2", "fossil"])
def test_every_recorded_record(name: str) -> None:
    """Records come back byte for byte, and say what the listing says."""
    store, _ = load_archive(name)
    rows = {(row["path"].rsplit("/", 1)[1], row["qid"]): row for row in load_listing(name)}
    seen = 0
    for (_, kind), block in store.blocks.items():
        if kind != 13 or block[:4] not in (MAGIC.to_bytes(4), MAGIC_OLD.to_bytes(4)):
            continue
        parsed = unpack_metablock(block, 8192)
        for position in range(len(parsed.slots)):
            entry = unpack_direntry(parsed.record(position))
            assert pack_direntry(entry) == parsed.record(position)
            row = rows.get((entry.elem.decode(), str(entry.qid)))
            if row is None:
                continue
            seen += 1
            for column, kind_of in COLUMNS.items():
                value = getattr(entry, column)
                assert (value.decode() if kind_of is str else value) == kind_of(row[column] or "")
            assert entry.mode == int(row["mode(octal, vac bits)"], 8)
            assert entry.version == int(row["dirent-version"])
            sections = (
                []
                if row["optional sections"] == "-"
                else ast.literal_eval(row["optional sections"])
            )
            assert [(number, data.hex()) for number, data in entry.sections] == sections
    assert seen >= len(rows) // 2


def test_every_prefix_is_refused_or_is_one() -> None:
    """A record that is cut makes sense only where a section ends."""
    ends = {len(GOLDEN), len(GOLDEN) - 4, len(GOLDEN) - 4 - 19}
    for size in range(len(GOLDEN)):
        if size in ends:
            unpack_direntry(GOLDEN[:size])
        else:
            with pytest.raises(BadTree):
                unpack_direntry(GOLDEN[:size])
    with pytest.raises(BadTree):
        unpack_direntry(GOLDEN + b"\0")


def broken(change: bytes, at: int) -> bytes:
    return GOLDEN[:at] + change + GOLDEN[at + len(change) :]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        broken(b"\0\0\0\0", 0),
        broken(b"\0\x06", 4),
        broken(b"\0\x0a", 4),
        broken(b"\xff\xff", 6),
        GOLDEN + bytes([3, 0, 16]) + bytes(16),
        GOLDEN + bytes([1, 0, 11]) + bytes(11),
        GOLDEN + bytes([0x55, 0, 1, 1]),
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(BadTree):
        unpack_direntry(data)


@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda tail: GOLDEN[:40] + tail))
def test_rubbish_raises_only_bad_tree(data: bytes) -> None:
    for function in (unpack_direntry, record_name):
        try:
            function(data)
        except BadTree:
            continue


def test_limits() -> None:
    assert len(unpack_direntry(pack_direntry(DirEntry(b"x" * 0xFFFF))).elem) == 0xFFFF
    for entry in (
        DirEntry(b"x" * 0x10000),
        DirEntry(b"x", entry=1 << 32),
        DirEntry(b"x", qid=1 << 64),
    ):
        with pytest.raises(struct.error):
            pack_direntry(entry)
