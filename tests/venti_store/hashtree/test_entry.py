"""Entries and roots: golden bytes, round trips, each limit and one beyond."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venti_store.hashtree.support import RECORDED, families, recorded
from venti_store.errors import BadTree
from venti_store.hashtree import shape
from venti_store.hashtree.entry import Entry, entry_size, pack_entry, unpack_entry
from venti_store.hashtree.root import Root, pack_root, root_size, unpack_root
from venti_store.kind import BLOCK_SIZE_MAX, BLOCK_SIZE_MAX_CLASSIC, Kind
from venti_store.score import BLAKE3, SHA1, Family, Score

LIMIT = {"sha1": BLOCK_SIZE_MAX_CLASSIC, "blake3": BLOCK_SIZE_MAX}
LOCAL_FLAG_AT, LOCAL = 8, 0x20


@st.composite
def entries(draw: st.DrawFn, family: Family) -> Entry:
    whole = st.integers(256, min(LIMIT[family.name], 65535))
    big = st.integers(8, LIMIT[family.name] >> 10).map(lambda n: n << 10)
    sizes = whole if draw(st.booleans()) else big
    psize, dsize = draw(sizes), draw(sizes)
    leaves = shape.leaves_max(family, psize, dsize)
    size = draw(st.integers(0, min(2**48 - 1, leaves * dsize)))
    return Entry(
        score=Score(draw(st.binary(min_size=family.size, max_size=family.size))),
        size=size,
        psize=psize,
        dsize=dsize,
        depth=draw(st.integers(shape.needed_depth(family, size, psize, dsize), 7)),
        directory=draw(st.booleans()),
        gen=draw(st.integers(0, 2**32 - 1)),
        no_archive=draw(st.booleans()),
    )


@given(families.flatmap(lambda family: st.tuples(st.just(family), entries(family))))
def test_an_entry_survives_its_bytes(case: tuple[Family, Entry]) -> None:
    family, entry = case
    packed = pack_entry(family, entry)
    assert len(packed) == entry_size(family) == 20 + family.size
    assert unpack_entry(family, packed) == entry
    assert unpack_entry(family, packed.rstrip(b"\0")) == entry  # as in a truncated leaf


@given(families, st.binary(max_size=60))
def test_any_bytes_are_an_entry_or_refused(family: Family, data: bytes) -> None:
    try:
        entry = unpack_entry(family, data)
    except BadTree:
        return
    if entry is not None:
        assert unpack_entry(family, pack_entry(family, entry)) == entry


@pytest.mark.parametrize("family", [SHA1, BLAKE3], ids=lambda f: f.name)
def test_an_unused_slot_is_zeros(family: Family) -> None:
    assert pack_entry(family, None) == bytes(entry_size(family))
    assert unpack_entry(family, b"") is None
    assert unpack_entry(family, bytes(entry_size(family))) is None


def test_the_bytes_of_a_native_entry() -> None:
    entry = Entry(BLAKE3.score(b"x"), 65537, 8192, 65536, 1, gen=7, no_archive=True)
    assert pack_entry(BLAKE3, entry) == (
        bytes.fromhex("0000000780038006c50000000000000000010001") + entry.score
    )


@pytest.mark.parametrize(
    ("change", "legal"),
    [
        ({"psize": 256}, True),
        ({"psize": 255}, False),
        ({"dsize": 256}, True),
        ({"dsize": 255}, False),
        ({"psize": 57344}, True),
        ({"psize": 57345}, False),
        ({"dsize": 57344}, True),
        ({"dsize": 57345}, False),
        ({"depth": 7}, True),
        ({"depth": 8}, False),
        ({"size": 8192, "depth": 0}, True),
        ({"size": 8193, "depth": 0}, False),
        ({"size": 8192 * 409, "depth": 1}, True),
        ({"size": 8192 * 409 + 1, "depth": 1}, False),
        ({"size": 2**31 * 8192, "depth": 7}, True),
        ({"size": 2**31 * 8192 + 1, "depth": 7}, False),
        ({"score": Score(bytes(32))}, False),
    ],
)
def test_the_limits_of_a_classic_entry(change: dict[str, Any], legal: bool) -> None:
    entry = replace(Entry(SHA1.score(b"x"), 100, 8192, 8192, 0), **change)
    if legal:
        assert unpack_entry(SHA1, pack_entry(SHA1, entry)) == entry
    else:
        with pytest.raises(ValueError, match="entry"):
            pack_entry(SHA1, entry)


def test_the_limits_of_a_native_block_size() -> None:
    entry = Entry(BLAKE3.score(b"x"), 100, 8192, BLOCK_SIZE_MAX, 0)
    assert unpack_entry(BLAKE3, pack_entry(BLAKE3, entry)) == entry
    with pytest.raises(ValueError, match="1049600"):
        pack_entry(BLAKE3, replace(entry, dsize=BLOCK_SIZE_MAX + 1024))


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (4, b"\0\xff", "blocks of 255 and 8192"),
        (4, b"\xe0\x01", "blocks of 57345 and 8192"),
        (6, b"\0\0", "blocks of 8192 and 0"),
        (14, b"\xff" * 6, "more than a hash tree can hold"),
        (14, b"\0\0\0\0\x20\x01", "needs 1"),
        (6, b"\0\x3f\x41", "not in 256 to 57344"),  # big: 1 << 31
    ],
)
def test_a_hostile_entry_is_refused(at: int, value: bytes, why: str) -> None:
    packed = bytearray(pack_entry(SHA1, Entry(SHA1.score(b"x"), 100, 8192, 8192, 0)))
    packed[at : at + len(value)] = value
    with pytest.raises(BadTree, match=why):
        unpack_entry(SHA1, packed)


def test_an_entry_that_is_too_long_is_refused() -> None:
    with pytest.raises(BadTree, match="41 bytes instead of 40"):
        unpack_entry(SHA1, bytes(41))


@pytest.mark.parametrize("name", RECORDED)
def test_entries_and_roots_of_real_programs_keep_their_bytes(name: str) -> None:
    entries_seen = roots_seen = 0
    for key, block in recorded(name).blocks.items():
        if key.kind is Kind.ROOT:
            assert pack_root(SHA1, unpack_root(SHA1, block)) == block
            roots_seen += 1
        if key.kind is not Kind.DIRECTORY:
            continue
        for at in range(0, len(block), 40):
            packed = bytearray(block[at : at + 40].ljust(40, b"\0"))
            entry = unpack_entry(SHA1, packed)
            packed[LOCAL_FLAG_AT] &= ~LOCAL  # which vac leaves set
            if entry is not None and packed[4:8] == bytes(4):
                assert (entry.psize, entry.dsize, entry.size) == (4096, 4096, 0)
                packed[4:8] = b"\x10\0\x10\0"
            assert pack_entry(SHA1, entry) == packed
            entries_seen += entry is not None
    assert entries_seen > 3
    assert roots_seen


@given(families, st.binary(max_size=128), st.integers(256, BLOCK_SIZE_MAX))
def test_a_root_survives_its_bytes(family: Family, name: bytes, blocksize: int) -> None:
    blocksize = min(blocksize, LIMIT[family.name])
    if blocksize > 65535:
        blocksize &= ~1023
    name = name.replace(b"\0", b"")
    root = Root(name, b"vac", family.score(b"top"), blocksize, family.nothing)
    packed = pack_root(family, root)
    assert len(packed) == root_size(family) == {20: 300, 32: 324}[family.size]
    assert unpack_root(family, packed) == root


@given(families, st.binary(max_size=330))
def test_any_bytes_are_a_root_or_refused(family: Family, data: bytes) -> None:
    data = (b"\0\2" + data.ljust(root_size(family), b"\1"))[: root_size(family)]
    try:
        root = unpack_root(family, data)
    except BadTree:
        return
    assert unpack_root(family, pack_root(family, root)) == root


def test_the_limits_of_a_root() -> None:
    root = Root(b"n" * 128, b"vac", SHA1.score(b"x"), 57344, SHA1.nothing)
    packed = bytearray(pack_root(SHA1, root))
    assert unpack_root(SHA1, packed) == root
    for change in (
        {"name": b"n" * 129},
        {"type": b"a\0b"},
        {"blocksize": 57345},
        {"blocksize": 255},
        {"prev": Score(bytes(32))},
        {"score": Score(b"")},
    ):
        with pytest.raises(ValueError, match="root"):
            pack_root(SHA1, replace(root, **change))  # type: ignore[arg-type]
    for wrong, why in (
        (packed[:299], "299 bytes"),
        (packed + b"\0", "301 bytes"),
        (b"\0\1" + packed[2:], "version 1"),
        (packed[:278] + b"\0\xff" + packed[280:], "255 bytes"),
        (packed[:278] + b"\xff\xff" + packed[280:], "65535 bytes"),
    ):
        with pytest.raises(BadTree, match=why):
            unpack_root(SHA1, wrong)
