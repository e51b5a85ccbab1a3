"""SecureStream: a Noise channel over any trio stream, with who the peer is and what it asked for.

The initiator's first message names the service it wants; the responder's first message is its
verdict. The initiator does not wait for that one: it is taken off before the first data.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

import trio

from lib9.channel import DATA_SIZE_MAX, NO, YES, Channel, check_verdict
from lib9.errors import Refused, RemoteProtocolError
from lib9.framing import Buffer
from lib9.noise import KeyPair

RECEIVE_SIZE: Final = 512 << 10
SEND_SIZE: Final = (
    9 * DATA_SIZE_MAX
)  # sealed at a time: bounds the copy; half a MiB goes in one piece
HANDSHAKE_SECONDS_MAX: Final = 10.0
CLOSE_SECONDS_MAX: Final = 2.0  # for telling the peer of the end; it may not be reading
SERVICE_SIZE_MAX: Final = 64

P = TypeVar("P")


class SecureStream(trio.abc.HalfCloseableStream):
    """What is sent arrives unread and unchanged, or the stream breaks."""

    def __init__(
        self,
        transport: trio.abc.Stream,
        channel: Channel,
        *,
        verdict_due: bool,
        ahead: Sequence[bytes] = (),
    ) -> None:
        """Wrap an open channel; `ahead` are messages that came in already."""
        self._transport = transport
        self._channel = channel
        self._verdict_due = verdict_due
        self._data: bytes | bytearray = b""  # of it, what is behind `_at` was not yet asked for
        self._at = 0
        self._ahead = list(reversed(ahead))
        self._sending = _Turn("another task is sending")
        self._receiving = _Turn("another task is receiving")
        self._closed = False
        self._ended = False
        self._send_broken = False

    @property
    def remote_static(self) -> bytes:
        """The peer's proven X25519 public key."""
        return self._channel.remote_static

    @property
    def breach(self) -> str | None:
        """What came in that the peer did not send so; None for nothing, or a mere cut."""
        return self._channel.breach

    async def send_all(self, data: Buffer) -> None:
        """Send `data`; trio.BrokenResourceError if the connection is gone."""
        with self._sending.taken():
            self._check_open()
            if self._send_broken:
                raise trio.BrokenResourceError("an earlier send was cut short")
            if self._ended:
                raise trio.ClosedResourceError("the stream was ended in this direction")
            view = memoryview(data)
            if not view:
                await trio.lowlevel.checkpoint()
            for start in range(0, len(view), SEND_SIZE):
                await self._send(self._channel.seal(view[start : start + SEND_SIZE]))

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending.taken():
            self._check_open()
            await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return bytes, or b"" after the peer ended the stream.

        trio.BrokenResourceError from RemoteProtocolError when the connection was cut or tampered
        with; Refused when the peer does not let us in.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receiving.taken():
            self._check_open()
            if self._data or self._ahead or self._channel.peer_ended:
                await trio.lowlevel.checkpoint()
            if not self._data:
                self._data, self._at = await self._next_data(), 0
            return self._take(max_bytes or len(self._data))

    async def send_eof(self) -> None:
        """End the stream in this direction; receiving goes on."""
        with self._sending.taken():
            self._check_open()
            if self._ended:
                await trio.lowlevel.checkpoint()
                return
            self._ended = True
            await self._send(self._channel.end())

    async def aclose(self) -> None:
        """Tell the peer that the stream ends here, as far as it listens, and close."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        try:
            if not (self._ended or self._sending.busy or self._send_broken):
                with trio.move_on_after(CLOSE_SECONDS_MAX):
                    await self._transport.send_all(self._channel.end())
        except (trio.BrokenResourceError, trio.BusyResourceError, trio.ClosedResourceError):
            pass  # nobody is left to be told
        finally:
            await self._transport.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("the stream was closed here")

    def _take(self, size: int) -> bytes | bytearray:
        data, end = self._data, self._at + size
        if end >= len(data):
            self._data = b""
            return data[self._at :] if self._at else data
        out = data[self._at : end]
        self._at = end
        return out

    async def _send(self, sealed: Buffer) -> None:
        # a message sent in part can never be completed: the stream stays broken in this direction
        self._send_broken = True
        await self._transport.send_all(sealed)
        self._send_broken = False

    async def _next_data(self) -> bytes | bytearray:
        """Return what comes next, b"" after the peer's end."""
        try:
            while True:
                if self._verdict_due:
                    self._take_verdict()
                if self._ahead:
                    return self._ahead.pop()
                if not self._verdict_due and (data := self._channel.data()):
                    return data
                if self._channel.peer_ended:
                    return b""
                await _receive(self._transport, self._channel)
        except RemoteProtocolError as error:
            raise trio.BrokenResourceError(f"the secure stream broke: {error}") from error

    def _take_verdict(self) -> None:
        """Take the peer's verdict, if it is here; what came with it is ahead then."""
        self._ahead = self._channel.messages()[::-1]
        if self._ahead:
            check_verdict(self._ahead.pop())
            self._verdict_due = False


class _Turn:
    """Lets one task at a time in; trio's streams promise BusyResourceError to the second."""

    def __init__(self, complaint: str) -> None:
        self.busy = False
        self._complaint = complaint

    @contextmanager
    def taken(self) -> Iterator[None]:
        if self.busy:
            raise trio.BusyResourceError(self._complaint)
        self.busy = True
        try:
            yield
        finally:
            self.busy = False


class Accepted(Generic[P]):
    """A stream that was let in: for whom, and for which service."""

    def __init__(self, stream: SecureStream, peer: P, service: str) -> None:
        self.stream = stream
        self.peer = peer
        self.service = service


async def connect(
    transport: trio.abc.Stream, static: KeyPair, remote_static: bytes, service: str
) -> SecureStream:
    """Return a stream to the holder of `remote_static`, which may still refuse us.

    Raises RemoteProtocolError when the peer does not hold that key, trio.TooSlowError after
    HANDSHAKE_SECONDS_MAX; the transport is closed then.
    """
    channel = Channel(static, remote_static)
    try:
        with trio.fail_after(HANDSHAKE_SECONDS_MAX):
            await transport.send_all(channel.hello())
            while not channel.open:
                await _receive(transport, channel)
                _check_silent(channel.messages())
            await transport.send_all(channel.seal(service.encode()))
    except BaseException:
        await trio.aclose_forcefully(transport)
        raise
    return SecureStream(transport, channel, verdict_due=True)


async def accept(
    transport: trio.abc.Stream, static: KeyPair, admit: Callable[[bytes, str], P]
) -> Accepted[P]:
    """Let a peer in, or not: `admit` gets its X25519 public key and the service it asks for.

    `admit` returns what the caller knows of the peer, or raises Refused, whose text the peer is
    told. Raises that, RemoteProtocolError, or trio.TooSlowError; the transport is closed then.
    """
    channel = Channel(static)
    try:
        with trio.fail_after(HANDSHAKE_SECONDS_MAX):
            messages: list[bytes] = []
            while not messages:
                await _receive(transport, channel)
                messages = channel.messages()
                if channel.answer:
                    await transport.send_all(channel.answer)
                    channel.answer = b""
            try:
                service = _service(messages[0])
                peer = admit(channel.remote_static, service)
            except Refused as refused:
                await transport.send_all(channel.seal(NO + str(refused).encode()))
                await transport.send_all(channel.end())
                raise
            await transport.send_all(channel.seal(YES))
    except BaseException:
        await trio.aclose_forcefully(transport)
        raise
    stream = SecureStream(transport, channel, verdict_due=False, ahead=messages[1:])
    return Accepted(stream, peer, service)


async def _receive(transport: trio.abc.Stream, channel: Channel) -> None:
    data = await transport.receive_some(RECEIVE_SIZE)
    if data:
        channel.feed(data)
    else:
        channel.connection_ended()


def _check_silent(messages: list[bytes]) -> None:
    if messages:
        raise RemoteProtocolError("a message before we named a service")


def _service(message: bytes) -> str:
    if len(message) > SERVICE_SIZE_MAX or not message.isascii():
        raise RemoteProtocolError("the first message names no service")
    return message.decode("ascii")
