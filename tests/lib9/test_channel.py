"""Two ends of a channel: any cut of the bytes, and every change of them, which ends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9.channel import DATA_SIZE_MAX, Channel
from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.noise import KeyPair

US, THEM = KeyPair.generate(), KeyPair.generate()


def opened():
    ours, theirs = Channel(US, THEM.public), Channel(THEM)
    theirs.feed(ours.hello())
    assert theirs.messages() == []
    ours.feed(theirs.answer)
    assert ours.messages() == []
    assert ours.open
    assert theirs.open
    assert theirs.remote_static == US.public
    return ours, theirs


def by_messages(channel):
    return b"".join(channel.messages())


READS = (by_messages, Channel.data)  # both give the same bytes, and end at the same place


def take(channel, pieces, read=Channel.data):
    out = bytearray()
    for piece in pieces:
        channel.feed(piece)
        out += read(channel)
    return out


@given(st.binary(max_size=400), st.lists(st.integers(0, 500)), st.sampled_from(READS))
def test_any_cut_gives_the_same_data(data, cuts, read):
    ours, theirs = opened()
    raw = bytes(ours.seal(data)) + ours.end()
    cuts = sorted(cut for cut in cuts if cut < len(raw))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert take(theirs, pieces, read) == data
    assert theirs.peer_ended
    theirs.connection_ended()


@pytest.mark.parametrize("size", [0, 1, DATA_SIZE_MAX, DATA_SIZE_MAX + 1, 3 * DATA_SIZE_MAX + 7])
@pytest.mark.parametrize("read", READS)
def test_data_is_spread_over_messages(size, read):
    ours, theirs = opened()
    data = bytes(range(256)) * (size // 256 + 1)
    raw = bytes(ours.seal(memoryview(data)[:size]))
    assert len(raw) == size + 18 * -(-size // DATA_SIZE_MAX)
    assert take(theirs, [raw], read) == data[:size]
    assert not theirs.peer_ended


def frames(ours, count=4):
    return [bytes(ours.seal(b"message %d" % n)) for n in range(count)]


@given(st.data())
def test_flipped_cut_reordered_and_repeated_bytes_end_the_channel(data):
    ours, theirs = opened()
    parts = frames(ours)
    index = data.draw(st.integers(0, 3))
    how = data.draw(st.sampled_from(["flip", "cut", "reorder", "repeat", "drop", "insert"]))
    good = b"".join(b"message %d" % n for n in range(index))
    if how == "flip":
        at = data.draw(st.integers(0, len(parts[index]) - 1))
        changed = bytearray(parts[index])
        changed[at] ^= data.draw(st.integers(1, 255))
        parts[index] = bytes(changed)
    elif how == "cut":
        end = data.draw(st.integers(0, len(parts[index]) - 1))
        parts = [*parts[:index], parts[index][:end]]
    elif how == "reorder":
        other = data.draw(st.integers(0, 3).filter(lambda n: n != index))
        parts[index], parts[other] = parts[other], parts[index]
        good = b"".join(b"message %d" % n for n in range(min(index, other)))
    elif how == "repeat":
        parts.insert(index, parts[index])
        good += b"message %d" % index
    elif how == "drop":
        del parts[index]
    else:
        parts.insert(index, b"\0\x10" + data.draw(st.binary(min_size=16, max_size=16)))
    read = data.draw(st.sampled_from(READS))
    got = bytearray()
    with pytest.raises(RemoteProtocolError):
        theirs.feed(b"".join(parts))
        got += read(theirs)
        theirs.feed(b"")
        got += read(theirs)
        theirs.connection_ended()
    # never more than what was sent before the change, and nothing afterwards
    assert good.startswith(bytes(got))
    for again in READS:
        with pytest.raises(RemoteProtocolError):
            again(theirs)


def test_nothing_of_one_session_is_taken_by_another():
    ours, theirs = opened()
    recorded = bytes(ours.seal(b"put this"))
    assert take(theirs, [recorded]) == b"put this"
    _, other = opened()
    other.feed(recorded)
    with pytest.raises(RemoteProtocolError, match="authentication"):
        other.messages()


def test_a_replayed_first_message_gets_nowhere():
    ours = Channel(US, THEM.public)
    hello = ours.hello()
    first, second = Channel(THEM), Channel(THEM)
    for channel in (first, second):
        channel.feed(hello)
        channel.messages()
    assert first.answer != second.answer
    ours.feed(first.answer)
    ours.messages()
    recorded = bytes(ours.seal(b"venti"))
    second.feed(recorded)
    with pytest.raises(RemoteProtocolError, match="authentication"):
        second.messages()


def test_a_message_to_oneself_is_refused():
    ours, _ = opened()
    ours.feed(ours.seal(b"echo"))
    with pytest.raises(RemoteProtocolError, match="authentication"):
        ours.messages()


@pytest.mark.parametrize("size", [97, 65535])
def test_a_stranger_cannot_make_us_keep_much(size):
    channel = Channel(THEM)
    channel.feed(size.to_bytes(2, "big"))
    with pytest.raises(RemoteProtocolError, match="the limit is 96"):
        channel.messages()


def test_no_data_before_the_handshake_and_none_after_the_end():
    with pytest.raises(LocalProtocolError):
        Channel(THEM).seal(b"x")
    for read in READS:
        ours, theirs = opened()
        theirs.feed(ours.end() + bytes(ours.seal(b"x")))
        with pytest.raises(RemoteProtocolError, match="after the end"):
            read(theirs)
    with pytest.raises(RemoteProtocolError, match="cut"):
        opened()[0].connection_ended()


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_wait_for_more(data):
    channel = Channel(THEM)
    channel.feed(data)
    try:
        assert channel.messages() == []
    except RemoteProtocolError:
        return
    assert not channel.open
