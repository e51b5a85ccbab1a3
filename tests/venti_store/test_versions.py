"""Version lines: what each side picks, what is refused, and at which byte."""

import pytest

from lib9.errors import RemoteProtocolError
from venti_store import versions, wire
from venti_store.score import BLAKE3, SHA1

CLASSIC = (wire.VERSIONS["04"], wire.VERSIONS["02"])
OURS = wire.versions_of(SHA1)


@pytest.mark.parametrize(
    ("head", "chosen"),
    [
        (b"venti-04:02-libventi", "04"),
        (b"venti-02-any", "02"),
        (b"venti-02:04-x", "02"),
        (b"venti-04", "04"),
        (b"venti-03:02-", "02"),
        (b"venti-x-02-", "02"),
        (b"venti-b1:s1:04:02-spawngrid", "s1"),
    ],
)
def test_the_order_of_the_peer_decides(head, chosen):
    assert versions.choose(head, OURS).name == chosen


@pytest.mark.parametrize("head", [b"venti-03-x", b"venti-", b"venti-0402", b"venti-b1-x"])
def test_no_common_version(head):
    with pytest.raises(versions.NoCommonVersion, match="no common version"):
        versions.choose(head, OURS)


def test_the_line_of_a_native_store_says_why_and_offers_no_classic_version():
    head = versions.line(wire.versions_of(BLAKE3)).rstrip(b"\n")
    assert b"classic clients need sha1" in head
    with pytest.raises(versions.NoCommonVersion):
        versions.choose(head, CLASSIC)
    assert versions.line(OURS) == b"venti-s1:04:02-spawngrid\n"


def feed(data, size):
    reader = versions.LineReader()
    for start in range(0, len(data), size):
        found = reader.feed(data[start : start + size])
        if found:
            return found
    return None


@pytest.mark.parametrize("size", [1, 5, 6, 7, 4096])
def test_lines_at_any_cut(size):
    longest = b"venti-04-".ljust(versions.LINE_SIZE_MAX, b"x")
    assert feed(longest + b"\n", size)[0] == longest
    assert feed(b"venti-04", size) is None
    for bad in (
        longest + b"x\n",
        longest + b"xx",
        b"ventix04-x\n",
        b"GET / HTTP/1.0\r\n",
        b"\n",
        b"ven\n",
        b"venti-04\r\n",
        b"venti-04-\xc3\xa9\n",
        b"venti-04\t\n",
    ):
        with pytest.raises(RemoteProtocolError):
            feed(bad, size)
