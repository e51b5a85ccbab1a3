"""Two joined ends, any cut of the bytes, real recordings, and every move that is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.framing import frame
from tests.kit import recordings
from tests.kit import wire_strategies as strategies
from venti_store import wire
from venti_store.codec import NAME_SIZE_MAX as NAME_MAX
from venti_store.interfaces import Key, LogRecord
from venti_store.kind import Kind
from venti_store.protocol import Connection, Malformed, Received, Role, State
from venti_store.score import BLAKE3, SHA1, Score

CLASSIC = (wire.VERSIONS["04"], wire.VERSIONS["02"])
NATIVE = wire.versions_of(BLAKE3)
ALL = tuple(wire.VERSIONS.values())
KEYS = tuple(Key(BLAKE3.score(bytes([n])), Kind.DATA) for n in range(3))


def take(connection, data):
    connection.feed(data)
    return list(connection.events())


def opened(offered=NATIVE):
    """A client and a server behind the hello."""
    client, server = Connection(Role.CLIENT, ALL), Connection(Role.SERVER, offered)
    assert take(client, server.line()) == take(server, client.line()) == []
    assert client.version is server.version
    tag, data = client.request(wire.Hello(client.version.name))
    [hello] = take(server, data)
    assert tag == hello.tag == 0
    [welcome] = take(client, server.reply(0, wire.Welcome()))
    assert welcome.message == wire.Welcome()
    assert client.state is server.state is State.OPEN
    return client, server


def ask(client, server, message):
    tag, data = client.request(message)
    assert take(server, data) == [Received(tag, message)]
    return tag


@pytest.mark.parametrize("name", ["b1", "s1", "04", "02"])
def test_each_version_opens(name):
    client, server = opened((wire.VERSIONS[name],))
    assert client.version.name == server.version.name == name
    tag = ask(client, server, wire.Ping())
    assert take(client, server.reply(tag, wire.Pong())) == [Received(tag, wire.Pong())]


def test_recorded_sessions_are_what_both_our_ends_say():
    for steps in recordings.session():
        client, server = Connection(Role.CLIENT, CLASSIC), Connection(Role.SERVER, CLASSIC)
        lines = [step for step in steps if step.data.startswith(b"venti-")]
        client.feed(lines[0].data), server.feed(lines[1].data)
        for step in steps:
            if step in lines:
                continue
            if step.side == "C":
                [received] = take(server, step.data)
                # our client says the same thing in the same bytes, under the same tag
                assert client.request(received.message) == (received.tag, step.data)
            else:
                [received] = take(client, step.data)
                assert server.reply(received.tag, received.message) == step.data
        assert client.state is server.state is State.OPEN


def run(pieces, role=Role.SERVER):
    connection, got = Connection(role, ALL), []
    try:
        for piece in pieces:
            connection.feed(piece)
            got += connection.events()
    except RemoteProtocolError as error:
        got.append(str(error))
    return got, connection.state


hellos = st.sampled_from(["04", "02", "b1"]).map(
    lambda name: (
        b"venti-" + name.encode() + b"\n"
        + frame(wire.pack(wire.VERSIONS[name], 0, wire.Hello(name)),
                prefix_size=wire.VERSIONS[name].prefix_size, body_size_max=999)
    )
)  # fmt: skip


@given(st.sampled_from([b"", b"venti-02-x\n", b"venti-04:02\n"]) | hellos, st.binary(max_size=300))
def test_garbage_ends_the_same_however_it_is_cut(prefix, data):
    data = prefix + data
    whole, _ = run([data])
    cut, _ = run([data[i : i + 1] for i in range(len(data))])
    # a version line that is refused is quoted as far as it was seen
    assert whole == cut or (isinstance(whole[0], str) and isinstance(cut[0], str))


@given(strategies.versions.flatmap(
    lambda v: st.tuples(st.just(v), st.lists(strategies.messages(v), max_size=6))), st.data())  # fmt: skip
def test_messages_arrive_the_same_however_they_are_cut(sent, data):
    version, messages = sent
    raw = f"venti-{version.name}\n".encode()
    messages = [wire.Hello(version.name), *messages]
    for tag, message in enumerate(messages):
        raw += frame(wire.pack(version, tag, message), prefix_size=version.prefix_size,
                     body_size_max=version.body_size_max)  # fmt: skip
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert run([raw]) == run(pieces)


class Pair(RuleBasedStateMachine):
    """A client and a server; answers come in any order, and in any number of parts."""

    def __init__(self):
        super().__init__()
        self.client, self.server = opened()
        self.sent, self.asked, self.owed = {}, [], {}

    @precondition(lambda self: len(self.sent) < 256)
    @rule(message=strategies.messages(wire.VERSIONS["b1"]).filter(
        lambda m: isinstance(m, wire.Request) and not isinstance(m, wire.Hello | wire.Goodbye)))  # fmt: skip
    def ask(self, message):
        tag, raw = self.client.request(message)
        assert tag not in self.sent
        self.sent[tag] = message
        self.asked += take(self.server, raw)
        self.owed[tag] = len(getattr(message, "keys", ()))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def answer(self, data):
        index = data.draw(st.integers(0, len(self.asked) - 1))
        received = self.asked[index]
        assert received.message == self.sent[received.tag]
        reply = self.reply_to(received, data)
        more = getattr(reply, "more", 0)
        assert take(self.client, self.server.reply(received.tag, reply)) == [
            Received(received.tag, reply)
        ]
        if not more:
            del self.asked[index], self.sent[received.tag]

    def reply_to(self, received, data):
        score = BLAKE3.nothing
        match received.message:
            case wire.ReadMany(keys) if keys and data.draw(st.booleans()):
                count = data.draw(st.integers(1, self.owed[received.tag]))
                self.owed[received.tag] -= count
                return wire.Blocks(int(self.owed[received.tag] > 0), (b"x",) * count)
            case wire.ReadMany():
                return wire.Error("no", wire.Fault.NO_SUCH_BLOCK)
            case wire.WriteMany(blocks):
                return wire.WriteManyDone((score,) * len(blocks))
            case wire.HaveMany(keys):
                return wire.HaveManyDone(bytes(len(keys)))
            case wire.ReadLog() as message:
                record = LogRecord(1, None, score, b"n", 1)
                return wire.LogEntries(0, (record,) * min(2, message.count))
            case wire.AppendName():
                return wire.AppendNameDone(1)
        return {wire.Ping: wire.Pong(), wire.Sync: wire.SyncDone()}.get(
            type(received.message), wire.Error("no")
        )

    @invariant()
    def both_open(self):
        assert self.client.state is self.server.state is State.OPEN
        assert self.client.requests_open == self.server.requests_open == len(self.sent)


TestPair = Pair.TestCase


# what a client does not take from a server


@pytest.mark.parametrize(
    ("asked", "replies", "why"),
    [
        (wire.Ping(), [wire.SyncDone()], "SyncDone where Pong is due"),
        (wire.Ping(), [wire.Pong(), wire.Pong()], "nothing awaits a reply"),
        (wire.Ping(), [wire.Ping()], "a server sent a request"),
        (wire.ReadMany(KEYS), [wire.Blocks(0, (b"", b""))], "1 item missing"),
        (wire.ReadMany(KEYS), [wire.Blocks(0, (b"",) * 4)], "more items than"),
        (wire.ReadMany(KEYS), [wire.Blocks(1, (b"",) * 3)], "more parts announced"),
        (wire.ReadMany(KEYS), [wire.Blocks(1, ())], "a part without items"),
        (wire.ReadMany(KEYS), [wire.Blocks(1, (b"",)), wire.Blocks(0, ())], "2 items missing"),
        (wire.WriteMany(()), [wire.WriteManyDone((KEYS[0].score,))], "more items than"),
        (wire.HaveMany(KEYS), [wire.HaveManyDone(b"\0\0")], "1 item missing"),
        (wire.HaveMany(KEYS), [wire.HaveManyDone(bytes(4))], "more items than"),
        (wire.ReadLog(1, KEYS[0].score, 0), [wire.LogEntries(1, ())], "a part without items"),
        (
            wire.ReadLog(1, KEYS[0].score, 1),
            [wire.LogEntries(0, (LogRecord(1, None, KEYS[0].score, b"", 0),) * 2)],
            "more items than",
        ),
        (
            wire.ReadLog(1, KEYS[0].score, 4),
            [wire.LogEntries(0, (LogRecord(1, Kind.DATA, KEYS[0].score, b"x", 1),))],
            "more bytes in the log's entries",
        ),
        (
            wire.ReadLog(1, KEYS[0].score, 4),
            [wire.LogEntries(0, (LogRecord(1, None, KEYS[0].score, bytes(NAME_MAX + 1), 1),))],
            "more bytes in the log's entries",
        ),
    ],
)
def test_a_lying_server_is_found_out(asked, replies, why):
    client, _ = opened()
    tag, _ = client.request(asked)
    version = client.version
    raw = b"".join(
        frame(wire.pack(version, tag, reply), prefix_size=4, body_size_max=1 << 20)
        for reply in replies
    )
    with pytest.raises(RemoteProtocolError, match=why):
        take(client, raw)


@pytest.mark.parametrize("parts", [[(b"ab", b"abc", b"a")], [(b"ab",), (b"abc",), (b"a",)]])
def test_no_block_may_be_larger_than_was_asked_for(parts):
    def answer(sizes_max):
        client, server = opened()
        tag, data = client.request(wire.ReadMany(KEYS), sizes_max)
        take(server, data)
        got = []
        for at, blocks in enumerate(parts, 1):
            got += take(client, server.reply(tag, wire.Blocks(int(at < len(parts)), blocks)))
        return len(got)

    assert answer((2, 3, 1)) == answer(()) == len(parts)
    for sizes_max, why in [
        ((1, 3, 1), "2 bytes where at most 1"),
        ((2, 2, 9), "3 bytes"),
        ((2, 3, 0), "at most 0"),
    ]:
        with pytest.raises(RemoteProtocolError, match=why):
            answer(sizes_max)


@pytest.mark.parametrize(
    ("asked", "record"),
    [
        (wire.ReadLog(1, KEYS[0].score, 4), LogRecord(1, None, KEYS[0].score, bytes(NAME_MAX), 1)),
        (
            wire.ReadLog(1, KEYS[0].score, 4, contents=1),
            LogRecord(1, Kind.DATA, KEYS[0].score, bytes(NAME_MAX + 1), 1),
        ),
    ],
)
def test_entries_of_the_log_have_the_bytes_that_were_asked_for(asked, record):
    client, server = opened()
    tag = ask(client, server, asked)
    reply = wire.LogEntries(0, (record,))
    assert take(client, server.reply(tag, reply)) == [Received(tag, reply)]


def test_a_server_is_held_to_the_same_rules():
    client, server = opened()
    tag = ask(client, server, wire.ReadMany(KEYS))
    for reply in (wire.Pong(), wire.Blocks(0, (b"",))):
        with pytest.raises(LocalProtocolError):
            server.reply(tag, reply)
    with pytest.raises(LocalProtocolError):
        server.reply(tag + 1, wire.Pong())
    with pytest.raises(LocalProtocolError):
        server.request(wire.Ping())
    with pytest.raises(LocalProtocolError):
        client.reply(tag, wire.Pong())


def test_tags_come_back_and_a_257th_request_waits():
    client, server = opened()
    for _ in range(300):
        tag = ask(client, server, wire.Ping())
        take(client, server.reply(tag, wire.Pong()))
    tags = {ask(client, server, wire.Ping()) for _ in range(256)}
    assert tags == set(range(256))
    with pytest.raises(LocalProtocolError, match="256 requests are already in flight"):
        client.request(wire.Ping())
    # a part of an answer frees nothing, its end does
    take(client, server.reply(7, wire.Pong()))
    assert ask(client, server, wire.ReadMany(KEYS)) == 7
    take(client, server.reply(7, wire.Blocks(1, (b"",))))
    with pytest.raises(LocalProtocolError, match="in flight"):
        client.request(wire.Ping())


# what a server does not take from a client


def raw_frame(body):
    return frame([bytes.fromhex(body)], prefix_size=4, body_size_max=1 << 20)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("100300", "bad packet: 1 bytes after a Sync"),
        ("1405", "unknown request"),
        ("0805", "unknown request"),
        ("0d057a7a", "unknown request"),
        ("040100023034000474657374000000", "unknown request"),
        ("0e090a000000783130", "bad packet: invalid kind 10"),
        ("0c09", "bad packet: the message ends inside a field"),
    ],
)
def test_requests_without_sense_are_answered_and_the_session_goes_on(body, reason):
    client, server = opened(CLASSIC)
    raw = raw_frame(body)
    [malformed] = take(server, raw)
    assert malformed == Malformed(raw[5], reason)
    refusal = wire.unpack(server.version, memoryview(server.refuse(malformed))[4:])
    assert refusal == (raw[5], wire.Error(reason))
    assert ask(client, server, wire.Ping()) == 0


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (raw_frame("1000") * 2, "tag 0 is already in use"),
        (raw_frame("1000") + raw_frame("100000"), "1 bytes after a Sync"),
        (raw_frame("10"), "without code and tag"),
        (b"\0\2\0\1", "frame of 131073 bytes, the limit is 131072"),
        (raw_frame("0600") + raw_frame("1000"), "after goodbye"),
    ],
)
def test_what_cannot_be_answered_ends_the_session(data, why):
    _, server = opened(CLASSIC)
    with pytest.raises(RemoteProtocolError, match=why):
        take(server, data)


@pytest.mark.parametrize(
    ("line", "data"),
    [
        (b"venti-04:02-probe\n", "000000021000"),  # a sync before the hello
        (b"venti-04:02-probe\n", "0000000f040100023034000474657374000000"),  # under tag 1
        (b"venti-04:02-probe\n", "0000000f040000023032000474657374000000"),  # the other version
        (b"venti-04:02-probe\n", "000000020000"),
        (b"venti-02:04-probe\n", "0000000f040000023032000474657374000000"),
    ],
)
def test_hellos_that_are_refused(line, data):
    server = Connection(Role.SERVER, CLASSIC)
    with pytest.raises(RemoteProtocolError):
        take(server, line + bytes.fromhex(data))


@pytest.mark.parametrize("line", [b"venti-02:04-x\n", b"venti-04:02-x\n"])
@pytest.mark.parametrize("version", CLASSIC, ids=lambda version: version.name)
def test_the_first_frame_shows_which_classic_version_is_meant(line, version):
    server = Connection(Role.SERVER, wire.versions_of(SHA1))
    data = frame(wire.pack(version, 0, wire.Hello(version.name)),
                 prefix_size=version.prefix_size, body_size_max=999)  # fmt: skip
    assert take(server, line + data) == [Received(0, wire.Hello(version.name))]
    assert server.version is version


def test_the_moves_a_client_may_not_make():
    client = Connection(Role.CLIENT, ALL)
    with pytest.raises(LocalProtocolError, match="Ping in state LINE"):
        client.request(wire.Ping())
    client, server = opened()
    with pytest.raises(LocalProtocolError, match="Hello in state OPEN"):
        client.request(wire.Hello("b1"))
    with pytest.raises(LocalProtocolError, match="has no Read"):
        client.request(wire.Read(Score(bytes(32)), Kind.DATA, 1))
    assert client.requests_open == 0
    tag, data = client.request(wire.Goodbye())
    assert take(server, data) == [Received(tag, wire.Goodbye())]
    assert server.state is client.state is State.CLOSED
