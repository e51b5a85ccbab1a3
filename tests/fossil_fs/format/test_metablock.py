"""MetaBlock: recorded bytes, both orders, canonical writing, and what is refused."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.format.direntry import DirEntry, pack_direntry, unpack_direntry
from fossil_fs.format.metablock import (
    MAGIC,
    MAGIC_OLD,
    Packer,
    pack_metablock,
    unpack_metablock,
)
from tests.fossil_fs.kit import load_archive
from venti_store.errors import BadTree

HEADER = struct.Struct(">IHHHH")


def record(name: bytes) -> bytes:
    return pack_direntry(DirEntry(name))


def test_golden() -> None:
    records = [record(b"a"), record(b"bc")]
    block = pack_metablock(records, 256)
    first = 12 + 4 * 2
    sizes = [len(data) for data in records]
    assert block[:12].hex() == f"5656fc7a{first + sum(sizes):04x}000000020002"
    assert block[12:20].hex() == f"{first:04x}{sizes[0]:04x}{first + sizes[0]:04x}{sizes[1]:04x}"
    assert block[20:] == b"".join(records)
    parsed = unpack_metablock(block, 256)
    assert list(parsed.names()) == [b"a", b"bc"]
    assert (parsed.magic, parsed.old_order) == (MAGIC, False)


@given(st.sets(st.binary(min_size=1, max_size=60), max_size=40), st.sampled_from([2048, 8192]))
def test_packer_fills_blocks_in_order(names: set[bytes], block_size: int) -> None:
    packer = Packer(block_size)
    blocks = [block for name in sorted(names) if (block := packer.add(record(name)))]
    last = packer.finish()
    blocks += [last] if last else []
    parsed = [unpack_metablock(block, block_size) for block in blocks]
    assert [name for block in parsed for name in block.names()] == sorted(names)
    for block, following in pairwise(parsed):
        full = len(block.slots) == block_size // 100
        assert full or len(block.data) + len(following.record(0)) > block_size
    for block in parsed:
        for position, name in enumerate(block.names()):
            assert block.find(name) == block.bisect(name) == position
    assert packer.finish() is None


def test_packer_limits() -> None:
    packer = Packer(512)
    room = 512 - 12 - 4 * 5 - len(record(b""))
    assert packer.add(record(b"x" * room)) is None
    assert len(packer.finish() or b"") == 512
    with pytest.raises(ValueError, match="fits no block"):
        packer.add(record(b"x" * (room + 1)))
    with pytest.raises(ValueError, match="records"):
        pack_metablock([record(b"x" * (room + 1))], 512)
    with pytest.raises(ValueError, match="records"):
        pack_metablock([b""] * 6, 512)


def test_recorded_blocks() -> None:
    """vac's blocks put `abc` before `ab` before `a`; fossil's ascend."""
    for archive, magic in (("vac", MAGIC_OLD), ("fossil", MAGIC)):
        store, _ = load_archive(archive)
        orders = []
        for block in store.blocks.values():
            if block[:4] == magic.to_bytes(4):
                parsed = unpack_metablock(block, 8192)
                names = list(parsed.names())
                orders.append(names)
                assert all(parsed.find(name) == n for n, name in enumerate(names))
        found = [[n for n in names if n in (b"a", b"ab", b"abc")] for names in orders]
        assert ([b"abc", b"ab", b"a"] if archive == "vac" else [b"a", b"ab", b"abc"]) in found


def test_zero_truncated_end_is_put_back() -> None:
    data = record(b"a") + bytes([2, 0, 5]) + bytes(5)
    block = pack_metablock([data], 256).rstrip(b"\0")
    assert unpack_direntry(unpack_metablock(block, 256).record(0)).sections == ((2, bytes(5)),)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        bytes(8192),
        MAGIC.to_bytes(4),
        HEADER.pack(MAGIC, 11, 0, 0, 0),
        HEADER.pack(MAGIC, 12, 0, 1, 0),
        HEADER.pack(MAGIC, 257, 0, 1, 0),
        HEADER.pack(MAGIC, 20, 0, 1, 2),
        HEADER.pack(MAGIC, 20, 0, 1, 1) + struct.pack(">HH", 15, 1),
        HEADER.pack(MAGIC, 20, 0, 1, 1) + struct.pack(">HH", 16, 5),
        HEADER.pack(MAGIC + 1, 16, 0, 1, 0),
    ],
)
def test_refused(block: bytes) -> None:
    with pytest.raises(BadTree):
        unpack_metablock(block, 256)


def test_index_is_right_to_its_limits() -> None:
    block = HEADER.pack(MAGIC, 20, 0, 1, 1) + struct.pack(">HH", 16, 4)
    assert unpack_metablock(block, 256).record(0) == bytes(4)
    empty = HEADER.pack(MAGIC, 12, 0, 0, 0)
    assert not unpack_metablock(empty, 256).slots
    assert not unpack_metablock(empty.rstrip(b"\0"), 256).slots
    with pytest.raises(BadTree):
        unpack_metablock(block, 256).name(0)
