"""Frames come out whole, however the bytes were cut, and never over the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.framing import FrameBuffer, frame


def bodies(buffer: FrameBuffer) -> list[bytes]:
    out = []
    while (body := buffer.next_body()) is not None:
        out.append(body)
    return out


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(0, 400)), st.sampled_from([2, 4]))
def test_any_cut_gives_the_same_bodies(sent, cuts, prefix_size):
    data = b"".join(frame([body], prefix_size=prefix_size, body_size_max=50) for body in sent)
    buffer = FrameBuffer(prefix_size=prefix_size, body_size_max=50)
    got, start = [], 0
    for cut in [*sorted(cuts), len(data)]:
        buffer.feed(data[start:cut])
        start = max(start, cut)
        got += bodies(buffer)
    # earlier bodies are views: they still hold what they held
    assert got == sent
    assert buffer.at_boundary


@pytest.mark.parametrize("prefix_size", [2, 4])
def test_the_limit_and_one_more(prefix_size):
    buffer = FrameBuffer(prefix_size=prefix_size, body_size_max=10)
    buffer.feed(frame([b"12345", b"67890"], prefix_size=prefix_size, body_size_max=10))
    assert bodies(buffer) == [b"1234567890"]
    with pytest.raises(LocalProtocolError, match="frame of 11 bytes, the limit is 10"):
        frame([b"12345678901"], prefix_size=prefix_size, body_size_max=10)
    buffer.feed((11).to_bytes(prefix_size, "big"))
    with pytest.raises(RemoteProtocolError, match="frame of 11 bytes, the limit is 10"):
        buffer.next_body()


def test_golden_bytes_and_the_boundary():
    assert frame([b"a", b"bc"], prefix_size=4, body_size_max=9) == b"\0\0\0\3abc"
    assert frame([], prefix_size=2, body_size_max=9) == b"\0\0"
    buffer = FrameBuffer(prefix_size=2, body_size_max=9)
    buffer.feed(b"\0\1x\0")
    assert bodies(buffer) == [b"x"]
    assert not buffer.at_boundary
