"""Mode bits: every type and permission there and back; the real programs' bits."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.format.mode import BITS, to_linux, to_stored
from tests.fossil_fs.nodes import types
from venti_store.errors import BadTree


@given(types, st.integers(0, 0o7777))
def test_inverse(kind: int, permissions: int) -> None:
    assert to_linux(to_stored(kind | permissions)) == kind | permissions


@pytest.mark.parametrize(
    ("linux", "stored"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o755, 0o100755),
        (stat.S_IFDIR | 0o1777, 0o101777),
        (stat.S_IFREG | 0o4755, 1 << 10 | 0o755),
        (stat.S_IFREG | 0o2755, 1 << 11 | 0o755),
        (stat.S_IFLNK | 0o777, 1 << 14 | 0o777),
        (stat.S_IFCHR | 0o600, 1 << 21 | 0o600),
        (stat.S_IFBLK | 0o600, 1 << 21 | 1 << 24 | 0o600),
        (stat.S_IFIFO | 0o600, 1 << 22 | 0o600),
        (stat.S_IFSOCK | 0o600, 1 << 22 | 1 << 23 | 0o600),
    ],
)
def test_golden(linux: int, stored: int) -> None:
    assert to_stored(linux) == stored
    assert to_linux(stored) == linux


def test_what_linux_lacks_is_dropped() -> None:
    extra = sum(1 << bit.number for bit in BITS if not bit.linux and bit.number not in (23, 24))
    assert to_linux(0o644 | extra | 1 << 31) == stat.S_IFREG | 0o644


@pytest.mark.parametrize(
    "bits", [1 << 14 | 1 << 15, 1 << 15 | 1 << 21, 1 << 23, 1 << 24, 1 << 21 | 1 << 22]
)
def test_two_types_are_refused(bits: int) -> None:
    with pytest.raises(BadTree):
        to_linux(bits)


def test_no_such_type() -> None:
    with pytest.raises(ValueError, match="file type"):
        to_stored(0o644)
