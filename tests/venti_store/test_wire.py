"""The codec: golden bytes from real programs, round trips, every limit at n and n + 1, refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9.errors import LocalProtocolError, RemoteProtocolError
from tests.kit import wire_strategies as strategies
from venti_store import wire
from venti_store.interfaces import Key, LogRecord
from venti_store.kind import BLOCK_SIZE_MAX, Kind
from venti_store.score import BLAKE3, SHA1, Score

V02, V04, S1, B1 = (wire.VERSIONS[name] for name in ("02", "04", "s1", "b1"))
NOTHING = bytes.fromhex("da39a3ee5e6b4b0d3255bfef95601890afd80709")
SCORE32 = Score(bytes(range(32)))


def packed(version, tag, message):
    return b"".join(wire.pack(version, tag, message))


def unpacked(version, body):
    return wire.unpack(version, memoryview(body))


@given(strategies.tagged)
def test_unpack_inverts_pack(sent):
    version, tag, message = sent
    assert unpacked(version, packed(version, tag, message)) == (tag, message)


@given(strategies.versions, st.binary(min_size=2, max_size=400))
def test_any_bytes_unpack_or_are_refused(version, body):
    try:
        tag, message = unpacked(version, body)
    except RemoteProtocolError:
        return
    assert unpacked(version, packed(version, tag, message)) == (tag, message)


@given(strategies.tagged, st.data())
def test_damaged_messages_unpack_or_are_refused(sent, data):
    version, tag, message = sent
    body = bytearray(packed(version, tag, message))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))
    try:
        tag, message = unpacked(version, body)
    except RemoteProtocolError:
        return
    assert unpacked(version, packed(version, tag, message)) == (tag, message)


GOLDEN = [
    (V04, wire.Error("no"), "01 07 0002 6e6f"),
    (V04, wire.Ping(), "02 07"),
    (V04, wire.Pong(), "03 07"),
    (
        V04,
        wire.Hello("02", "glenda", 1, b"x", b""),
        "04 07 0002 3032 0006 676c656e6461 01 01 78 00",
    ),
    (V04, wire.Welcome("anonymous"), "05 07 0009 616e6f6e796d6f7573 00 00"),
    (V04, wire.Goodbye(), "06 07"),
    (V04, wire.Read(Score(NOTHING), Kind.DATA, 0x1234), f"0c 07 {NOTHING.hex()} 0d 00 1234"),
    (V04, wire.Read(Score(NOTHING), Kind.ROOT, 65536), f"0c 07 {NOTHING.hex()} 01 00 00010000"),
    (V04, wire.ReadDone(b"hi"), "0d 07 6869"),
    (V04, wire.Write(Kind.DIRECTORY, b"hi"), "0e 07 02 000000 6869"),
    (V04, wire.WriteDone(Score(NOTHING)), f"0f 07 {NOTHING.hex()}"),
    (V04, wire.Sync(), "10 07"),
    (V04, wire.SyncDone(), "11 07"),
    (B1, wire.Error("no", wire.Fault.STORE_FULL), "01 07 0002 6e6f 04"),
    (B1, wire.ReadMany((Key(SCORE32, Kind.DATA),)), f"20 07 00000001 {SCORE32.hex()} 0d"),
    (B1, wire.Blocks(1, (b"ab", b"")), "21 07 01 00000002 00000002 6162 00000000"),
    (B1, wire.WriteMany((wire.NewBlock(Kind.ROOT, b"x"),)), "22 07 00000001 01 00000001 78"),
    (B1, wire.WriteManyDone((SCORE32,)), f"23 07 00000001 {SCORE32.hex()}"),
    (S1, wire.HaveMany((Key(Score(NOTHING), Kind.ROOT),)), f"24 07 00000001 {NOTHING.hex()} 01"),
    (B1, wire.HaveManyDone(b"\1\0"), "25 07 0100"),
    (
        B1,
        wire.ReadLog(5, SCORE32, 6, 1, 7),
        f"26 07 0000000000000005 {SCORE32.hex()} 00000006 01 00000007",
    ),
    (
        B1,
        wire.LogEntries(0, (LogRecord(9, None, SCORE32, b"n", 1),)),
        f"27 07 00 00000001 0000000000000009 00 {SCORE32.hex()} 00000001 6e 00000001",
    ),
    (B1, wire.AppendName(b"n"), "28 07 00000001 6e"),
    (B1, wire.AppendNameDone(3), "29 07 0000000000000003"),
    (B1, wire.GetStatistics(), "2a 07"),
    (B1, wire.Statistics((("id", "x"),)), "2b 07 00000001 0002 6964 0001 78"),
]


@pytest.mark.parametrize(("version", "message", "body"), GOLDEN)
def test_golden_bytes(version, message, body):
    raw = bytes.fromhex(body)
    assert packed(version, 7, message) == raw
    assert unpacked(version, raw) == (7, message)


def test_every_message_has_golden_bytes():
    named = {(version.native, type(message)) for version, message, _ in GOLDEN}
    for native, table in ((False, wire.CLASSIC), (True, wire.NATIVE)):
        own = set(table.layouts) - (set(wire.CLASSIC.layouts) - {wire.Error} if native else set())
        assert {kind for flag, kind in named if flag is native} >= own


def test_every_request_has_its_reply_one_code_further():
    for table in (wire.CLASSIC, wire.NATIVE):
        for request, reply in wire.REPLY_TO.items():
            if request in table.layouts:
                assert table.layouts[reply].code == table.layouts[request].code + 1


REFUSED = [
    (V04, "1007 00", "1 bytes after a Sync"),
    (V04, "1407", "unknown message 20"),
    (V04, "0807", "unknown message 8"),
    (V04, f"0c07 {NOTHING.hex()} 0d00", "ends inside a field"),
    (V04, f"0c07 {NOTHING.hex()} 0d00 000000", "ends inside a field"),
    (V04, f"0c07 {NOTHING.hex()} 0d00 0000000000", "1 bytes after a Read"),
    (V04, "0e07 0d0000", "ends inside a field"),
    *((V04, f"0e07 {n:02x} 000000 78", f"invalid kind {n}") for n in (0, 10, 11, 12, 14, 255)),
    (V04, "0107 0002 6e", "ends inside a field"),
    (V04, "0107 0002 ff6e", "not UTF-8"),
    (V04, "0107 0001 00", "NUL in a string"),
    (V04, "0107 0401" + "61" * 1025, "field of 1025 bytes, the limit is 1024"),
    (B1, "2007 ffffffff", "more items announced than there are bytes"),
    (B1, "2107 00 00000001 00100001", "field of 1048577 bytes"),
    (B1, "0107 0000 63", "invalid fault 99"),
    (B1, f"0c07 {NOTHING.hex()} 0d 00 1234", "unknown message 12"),
]


@pytest.mark.parametrize(("version", "body", "why"), REFUSED)
def test_refused_bodies(version, body, why):
    with pytest.raises(RemoteProtocolError, match=why):
        unpacked(version, bytes.fromhex(body))


UNSENDABLE = [
    (V04, wire.Error("x" * 1025), "limit is 1024"),
    (V04, wire.Error("a\0b"), "NUL"),
    (V04, wire.Read(SCORE32, Kind.DATA, 1), "hashes differ"),
    (B1, wire.Read(SCORE32, Kind.DATA, 1), "has no Read"),
    (V04, wire.Read(Score(NOTHING), Kind.DATA, 1 << 32), "does not fit"),
    (V04, wire.Hello("04", "u", 256), "does not fit"),
    (V04, wire.Hello("04", "u", 0, bytes(256)), "limit is 255"),
    (B1, wire.Blocks(0, (bytes(BLOCK_SIZE_MAX + 1),)), "limit is 1048576"),
]


@pytest.mark.parametrize(("version", "message", "why"), UNSENDABLE)
def test_what_cannot_be_said_is_not_sent(version, message, why):
    with pytest.raises(LocalProtocolError, match=why):
        wire.pack(version, 0, message)


def test_limits_are_taken():
    for version, message in [
        (V04, wire.Error("x" * 1024)),
        (V04, wire.Hello("04", "u", 255, bytes(255))),
        (V04, wire.Read(Score(NOTHING), Kind.DATA, (1 << 32) - 1)),
        (B1, wire.Blocks(0, (bytes(BLOCK_SIZE_MAX),))),
    ]:
        assert unpacked(version, packed(version, 1, message)) == (1, message)


def test_pads_are_ignored():
    assert unpacked(V04, bytes.fromhex("0e070d01020378")) == (7, wire.Write(Kind.DATA, b"x"))


def test_versions_fit_their_hashes():
    assert [version.name for version in wire.versions_of(BLAKE3)] == ["b1"]
    assert [version.name for version in wire.versions_of(SHA1)] == ["s1", "04", "02"]
