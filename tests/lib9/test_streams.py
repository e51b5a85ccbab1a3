"""Addresses, sockets and the secure stream over them."""

import os
import socket

import pytest
import trio
import trio.testing

from lib9 import secure, streams
from lib9.blocking import SecureSocket
from lib9.channel import YES, Channel
from lib9.errors import Refused, RemoteProtocolError, UsageError
from lib9.noise import KeyPair
from lib9.streams import CannotDial, CannotListen, Dial

US, THEM, STRANGER = KeyPair.generate(), KeyPair.generate(), KeyPair.generate()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix!/run/venti", Dial("unix", path="/run/venti")),
        ("unix!a!b", Dial("unix", path="a!b")),
        ("tcp!host!17034", Dial("tcp", host="host", port=17034)),
        ("tcp!::1!venti", Dial("tcp", host="::1", port=17034)),
        ("noise!*!grid", Dial("noise", host="*", port=27034)),
        ("tcp!host", Dial("tcp", host="host", port=17034)),
        ("tcp!host!65535", Dial("tcp", host="host", port=65535)),
    ],
)
def test_dial_strings(text, address):
    assert streams.is_dial(text)
    assert streams.parse_dial(text) == address
    assert streams.parse_dial(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "tcp!",
        "tcp!h!65536",
        "tcp!h!-1",
        "tcp!h!x",
        "tcp!!1",
        "tls!h!1",
        "unix!",
        "tcp!h!１",
    ],
)
def test_texts_that_are_no_addresses(text):
    with pytest.raises(UsageError, match="not an address"):
        streams.parse_dial(text)


async def test_unix_sockets_are_private_replaced_when_stale_and_not_stolen(tmp_path):
    address = Dial("unix", path=str(tmp_path / "s"))
    with pytest.raises(CannotDial, match="No such file"):
        await streams.dial(address)
    [listener] = await streams.listen(address)
    assert os.stat(address.path).st_mode & 0o777 == 0o600
    with pytest.raises(CannotListen, match="in use"):
        await streams.listen(address)
    await listener.aclose()
    with pytest.raises(CannotDial, match="refused"):
        await streams.dial(address)
    [listener] = await streams.listen(address, mode=0o666)
    assert os.stat(address.path).st_mode & 0o777 == 0o666
    assert os.listdir(tmp_path) == ["s"]
    await listener.aclose()
    plain = tmp_path / "file"
    plain.write_text("precious")
    with pytest.raises(CannotListen, match="no socket"):
        await streams.listen(Dial("unix", path=str(plain)))
    assert plain.read_text() == "precious"


async def test_tcp_errors_say_what_and_why():
    [listener] = await streams.listen(Dial("tcp", host="127.0.0.1", port=0))
    port = listener.socket.getsockname()[1]
    with pytest.raises(CannotListen, match=f"tcp!127.0.0.1!{port}: .*in use"):
        await streams.listen(Dial("tcp", host="127.0.0.1", port=port))
    stream = await streams.dial(Dial("tcp", host="127.0.0.1", port=port))
    await stream.aclose()
    await listener.aclose()
    with pytest.raises(CannotDial, match=f"^tcp!127.0.0.1!{port}: Connection refused$"):
        await streams.dial(Dial("tcp", host="127.0.0.1", port=port))


async def test_listeners_from_a_service_manager():
    sock = socket.create_server(("127.0.0.1", 0))
    [listener] = streams.listeners_of([sock.detach()])
    stream = await streams.dial(
        Dial("tcp", host="127.0.0.1", port=listener.socket.getsockname()[1])
    )
    accepted = await listener.accept()
    await stream.send_all(b"hello")
    assert await accepted.receive_some(10) == b"hello"
    for thing in (stream, accepted, listener):
        await thing.aclose()


def admit(key, service):
    if key != US.public:
        raise Refused("this key is not known here")
    if service != "venti":
        raise Refused(f"no right to {service}")
    return "us"


async def joined(static=US, service="venti", transports=None):
    left, right = transports or trio.testing.memory_stream_pair()
    results = {}

    async def connect():
        results["left"] = await secure.connect(left, static, THEM.public, service)

    async def accept():
        try:
            results["right"] = await secure.accept(right, THEM, admit)
        except Refused as refused:
            results["refused"] = refused

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        nursery.start_soon(accept)
    return results


async def test_it_is_a_trio_stream():
    async def maker():
        results = await joined()
        return results["left"], results["right"].stream

    await trio.testing.check_half_closeable_stream(maker, None)


async def test_who_asks_for_what_is_known():
    results = await joined()
    accepted = results["right"]
    assert (accepted.peer, accepted.service) == ("us", "venti")
    assert accepted.stream.remote_static == US.public
    assert results["left"].remote_static == THEM.public


@pytest.mark.parametrize(
    ("static", "service", "why"),
    [(STRANGER, "venti", "this key is not known here"), (US, "hub", "no right to hub")],
)
async def test_who_may_not_is_refused_at_the_first_message(static, service, why):
    results = await joined(static, service)
    assert str(results["refused"]) == why
    assert "right" not in results
    with pytest.raises(Refused, match=why):
        await results["left"].receive_some(1)


async def test_what_is_sent_before_the_verdict_arrives():
    left, right = trio.testing.memory_stream_pair()
    accepted = []

    async def accept():
        accepted.append(await secure.accept(right, THEM, admit))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        stream = await secure.connect(left, US, THEM.public, "venti")
        await stream.send_all(b"early")
    assert await accepted[0].stream.receive_some(100) == b"early"


async def test_the_wrong_server_is_found_out():
    left, right = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def accept():
            with pytest.raises(RemoteProtocolError):
                await secure.accept(right, THEM, admit)

        nursery.start_soon(accept)
        with pytest.raises((RemoteProtocolError, trio.BrokenResourceError)):
            await secure.connect(left, US, STRANGER.public, "venti")


async def test_a_cut_connection_is_not_an_end():
    left, right = trio.testing.memory_stream_pair()
    results = await joined(transports=(left, right))
    await results["left"].send_all(b"half")
    await left.aclose()
    stream = results["right"].stream
    assert await stream.receive_some(10) == b"half"
    with pytest.raises(trio.BrokenResourceError, match="cut"):
        await stream.receive_some(10)


async def test_a_changed_byte_breaks_the_stream_for_good():
    left, right = trio.testing.memory_stream_pair()
    results = await joined(transports=(left, right))
    stream = results["right"].stream
    await left.send_all(b"\0\x20" + bytes(32))
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="authentication"):
            await stream.receive_some(10)


def opened():
    """Return two channels, ours and theirs, that have shaken hands."""
    ours, theirs = Channel(US, THEM.public), Channel(THEM)
    theirs.feed(ours.hello())
    theirs.messages()
    ours.feed(theirs.answer)
    ours.messages()
    return ours, theirs


def behind_a_verdict(theirs, *good):
    """Return what lets us in, `good` messages, and a changed one, as it may come in one piece."""
    sealed = [bytes(theirs.seal(message)) for message in (YES, *good, b"changed")]
    return b"".join(sealed)[:-1] + b"?"


@pytest.mark.parametrize("good", [(), (b"good",)])
async def test_what_is_wrong_behind_the_verdict_is_told_at_once(good, autojump_clock):
    ours, theirs = opened()
    left, right = trio.testing.memory_stream_pair()
    stream = secure.SecureStream(left, ours, verdict_due=True)
    await right.send_all(behind_a_verdict(theirs, *good))
    with trio.fail_after(1):
        for message in good:
            assert await stream.receive_some(10) == message
        with pytest.raises(trio.BrokenResourceError, match="authentication"):
            await stream.receive_some(10)


@pytest.mark.parametrize("good", [(), (b"good",)])
def test_a_blocking_socket_tells_it_at_once_too(good):
    ours, theirs = opened()
    left, right = socket.socketpair()
    with left, right:
        blocking = SecureSocket(left, ours)
        blocking.set_timeout(20)
        right.sendall(behind_a_verdict(theirs, *good))
        for message in good:
            assert blocking.receive() == message
        with pytest.raises(RemoteProtocolError, match="authentication"):
            blocking.receive()


async def test_a_silent_peer_is_given_up(autojump_clock):
    left, _right = trio.testing.memory_stream_pair()
    with pytest.raises(trio.TooSlowError):
        await secure.connect(left, US, THEM.public, "venti")
    _left, right = trio.testing.memory_stream_pair()
    with pytest.raises(trio.TooSlowError):
        await secure.accept(right, THEM, admit)


@pytest.mark.parametrize("service", ["x" * 65, "é"])
async def test_a_first_message_that_names_no_service(service):
    left, right = trio.testing.memory_stream_pair()
    channel = Channel(US, THEM.public)
    async with trio.open_nursery() as nursery:

        async def accept():
            with pytest.raises(RemoteProtocolError, match="names no service"):
                await secure.accept(right, THEM, admit)

        nursery.start_soon(accept)
        await left.send_all(channel.hello())
        channel.feed(await left.receive_some(1000))
        channel.messages()
        await left.send_all(channel.seal(service.encode()))


async def test_much_data_over_a_real_socket(tmp_path):
    address = Dial("unix", path=str(tmp_path / "s"))
    [listener] = await streams.listen(address)
    client = await streams.dial(address)
    results = await joined(transports=(client, await listener.accept()))
    data = os.urandom(1 << 20)
    got = bytearray()
    async with trio.open_nursery() as nursery:

        async def send():
            await results["left"].send_all(data)
            await results["left"].aclose()

        nursery.start_soon(send)
        async for piece in results["right"].stream:
            got += piece
    assert got == data
    await results["right"].stream.aclose()
    await listener.aclose()
