"""The hub protocol: its bytes, its limits, and what may be said when."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.net import wire
from hubfs.net.connection import Connection, Role
from hubfs.net.wire import Facts
from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.fields import REST, STRING, Counted, Field, Many, Record, UInt

_REST = st.binary(max_size=300)


def values(field: Field) -> st.SearchStrategy[Any]:
    if isinstance(field, UInt):
        return st.integers(0, (1 << 8 * field.size) - 1)
    if field is STRING:
        return st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=100)
    if isinstance(field, Counted):
        return st.binary(max_size=field.size_max)
    if field is REST:
        return _REST
    if isinstance(field, Many):
        return st.lists(values(field.of), max_size=5).map(tuple)
    assert isinstance(field, Record)
    assert field.build is not None
    return st.builds(field.build, **{name: values(part) for name, part in field.fields})


MESSAGES = st.one_of(
    *(
        st.builds(kind, *(values(field) for field in layout.fields))
        for kind, layout in wire.TABLE.layouts.items()
    )
)


def packed(tag: int, message: wire.Message) -> bytes:
    return b"".join(wire.pack(tag, message))


@given(st.integers(0, (1 << 64) - 1), MESSAGES)
def test_what_is_packed_is_unpacked(tag: int, message: wire.Message) -> None:
    assert wire.unpack(memoryview(packed(tag, message))) == (tag, message)


@given(st.binary(max_size=200))
def test_no_bytes_break_more_than_the_protocol(body: bytes) -> None:
    try:
        tag, message = wire.unpack(memoryview(body))
    except RemoteProtocolError:
        return
    assert packed(tag, message) == body


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (wire.Ping(), "04 0000000000000007"),
        (wire.Hello(1, b"ab"), "06 0000000000000007 00000001 02 6162"),
        (wire.Error(13, "no"), "01 0000000000000007 0000000d 0002 6e6f"),
        (wire.Lookup(1, b"log"), "08 0000000000000007 0000000000000001 03 6c6f67"),
        (
            wire.Told(Facts(5, 0o100644, 1, 0, 9, 1)),
            (
                "09 0000000000000007 0000000000000005 000081a4 00000001 0000000000000000"
                " 0000000000000009 01"
            ),
        ),
        (
            wire.Read(3, 16, 4096, 0, 1),
            "24 0000000000000007 0000000000000003 0000000000000010 00001000 0000000000000000 01",
        ),
        (wire.Data(16, 0, b"hi"), "25 0000000000000007 0000000000000010 00 6869"),
        (wire.Write(5, 0, 1, b"x"), "26 0000000000000007 0000000000000005 0000000000000000 01 78"),
    ],
)
def test_golden_bytes(message: wire.Message, expected: str) -> None:
    assert packed(7, message) == bytes.fromhex(expected)


def test_every_request_has_its_reply_and_limits_hold() -> None:
    assert set(wire.REPLY_TO.values()) | set(wire.REPLY_TO) | {wire.Error, wire.Bye} == set(
        wire.TABLE.layouts
    )
    most = wire.BODY_SIZE_MAX - len(packed(1, wire.Status(b"")))
    wire.pack(1, wire.Status(bytes(most)))
    with pytest.raises(LocalProtocolError):
        wire.pack(1, wire.Status(bytes(most + 1)))


def test_what_may_be_said_when() -> None:
    client, server = Connection(Role.CLIENT), Connection(Role.SERVER)
    with pytest.raises(LocalProtocolError):
        Connection(Role.CLIENT).send(1, wire.Ping())
    server.feed(client.send(1, wire.Hello(1, b"")))
    assert list(server.received()) == [(1, wire.Hello(1, b""))]
    with pytest.raises(LocalProtocolError):
        server.send(1, wire.Done())
    client.feed(server.send(1, wire.Welcome(1, 0, "me", "read")))
    assert [tag for tag, _ in client.received()] == [1]
    server.feed(client.send(2, wire.Ping()) + client.send(3, wire.GetStatus()))
    assert [tag for tag, _ in server.received()] == [2, 3]
    with pytest.raises(LocalProtocolError):
        client.send(3, wire.Ping())
    client.feed(server.send(3, wire.Status(b"ok")) + server.send(2, wire.Error(5, "x")))
    assert [tag for tag, _ in client.received()] == [3, 2]
    client.feed(server.send(0, wire.Bye()))
    assert list(client.received()) == [(0, wire.Bye())]


def framed(tag: int, message: wire.Message) -> bytes:
    body = packed(tag, message)
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (framed(1, wire.Ping()), "out of place"),
        (framed(1, wire.Done()), "no request"),
        (framed(0, wire.Hello(1, b"")), "not free"),
        (framed(1, wire.Hello(1, b"")) * 2, "out of place"),
        ((1 << 24).to_bytes(4, "big"), "limit"),
        (b"\0\0\0\x09" + bytes(9), "unknown message 0"),
        (b"\0\0\0\x01\x04", "without"),
    ],
)
def test_a_server_refuses(data: bytes, why: str) -> None:
    server = Connection(Role.SERVER)
    server.feed(data)
    with pytest.raises(RemoteProtocolError, match=re.escape(why)):
        list(server.received())
