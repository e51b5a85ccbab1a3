"""Section 0x55 and extended attributes: golden bytes, inverse, and what is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.format.section import TAGS, Extra, pack_extra, unpack_extra
from fossil_fs.format.xattrs import pack_xattrs, unpack_xattrs
from tests.fossil_fs.nodes import xattr_pairs
from venti_store.errors import BadTree

GOLDEN = bytes.fromhex(
    "01 01 0008 000003e8 00000064 02 0008 00000005 ffffffff 03 0008 00000008 00000001"
    "04 000b 06 00000000 757365722e61 06 0008 00000000000000ff 07 0004 00000002"
)
GOLDEN_EXTRA = Extra((1000, 100), (5, -1), (8, 1), ((b"user.a", b""),), link=255, nlink=2)


def strategy() -> st.SearchStrategy[Extra]:
    u32 = st.integers(0, 2**32 - 1)
    time = st.tuples(st.integers(0, 10**9 - 1), st.integers(-(2**31), 2**31 - 1))
    return st.builds(
        lambda inline, slot, **rest: Extra(
            xattrs=inline if slot is None else (), xattr_slot=slot, **rest
        ),
        xattr_pairs,
        st.none() | u32,
        owner=st.none() | st.tuples(u32, u32),
        time=st.none() | time,
        device=st.none() | st.tuples(u32, u32),
        link=st.none() | st.integers(0, 2**64 - 1),
        nlink=st.none() | u32,
    )


def test_golden() -> None:
    assert pack_extra(GOLDEN_EXTRA) == GOLDEN
    assert unpack_extra(GOLDEN) == GOLDEN_EXTRA


@given(strategy())
def test_inverse(extra: Extra) -> None:
    assert unpack_extra(pack_extra(extra)) == extra


@given(xattr_pairs)
def test_xattrs_inverse(pairs: tuple[tuple[bytes, bytes], ...]) -> None:
    assert unpack_xattrs(pack_xattrs(tuple(reversed(pairs)))) == pairs


def test_unknown_tags_are_passed_over() -> None:
    last = max(tag.number for tag in TAGS)
    assert unpack_extra(GOLDEN + bytes([last + 1, 0, 2, 9, 9])) == GOLDEN_EXTRA


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"\x01\x01",
        b"\x01\x01\x00\x08" + bytes(7),
        b"\x01\x01\x00\x07" + bytes(7),
        b"\x01\x01\x00\x09" + bytes(9),
        b"\x01" + (b"\x01\x00\x08" + bytes(8)) * 2,
        b"\x01\x02\x00\x08" + bytes(8) + b"\x01\x00\x08" + bytes(8),
        b"\x01\x02\x00\x08" + (10**9).to_bytes(4) + bytes(4),
        b"\x01\x04\x00\x04\x01\x00\x00a\x05\x00\x04" + bytes(4),
        b"\x01\x04\x00\x03\x01\x00\x00",
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(BadTree):
        unpack_extra(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x01",
        b"\x00\x00\x00\x00\x00",
        b"\x01\x00\x00\x00\x01a",
        b"\x01\x00\x00\x00\x00b\x01\x00\x00\x00\x00a",
        b"\x01\x00\x00\x00\x00\0",
    ],
)
def test_xattrs_refused(data: bytes) -> None:
    with pytest.raises(BadTree):
        unpack_xattrs(data)


def test_xattrs_limits() -> None:
    most = ((b"n" * 255, b"v" * 65536),)  # what Linux allows
    assert unpack_xattrs(pack_xattrs(most)) == most
    with pytest.raises(struct.error):
        pack_xattrs(((b"n" * 256, b""),))


@given(st.binary(max_size=60).map(lambda tail: b"\x01" + tail))
def test_rubbish_raises_only_bad_tree(data: bytes) -> None:
    try:
        unpack_extra(data)
    except BadTree:
        return
