"""A byte stream behind a Noise handshake, without I/O.

Every Noise message travels behind its size (u16, big-endian). Handshake payloads are empty, for the
first message can be replayed. An empty message is the end of the stream: a connection that ends
without one was cut. Any byte that is not the peer's, in its place, ends the channel.
"""

from __future__ import annotations

from typing import Final

from lib9.errors import LocalProtocolError, Refused, RemoteProtocolError
from lib9.framing import Buffer, FrameBuffer, frame
from lib9.noise import MESSAGE_SIZE_MAX, TAG_SIZE, Cipher, Handshake, KeyPair

DATA_SIZE_MAX: Final = MESSAGE_SIZE_MAX - TAG_SIZE  # bytes in one message
_AROUND: Final = 2 + TAG_SIZE
_PROLOGUE: Final = b"spawngrid channel 1"
_CUT: Final = "the connection was cut"
_HANDSHAKE_SIZE_MAX: Final = 96  # bytes: what a stranger can make us keep
YES: Final = b"yes"  # the responder's first message, or
NO: Final = b"no "  # this and its reason


class Channel:
    """One end. Write what `hello`, `seal` and `end` return and what `answer` holds to the peer."""

    def __init__(self, static: KeyPair, remote_static: bytes | None = None) -> None:
        """Begin. With `remote_static`, the public key the responder must have, as initiator."""
        self._handshake = Handshake(static=static, remote_static=remote_static, prologue=_PROLOGUE)
        self._frames = FrameBuffer(prefix_size=2, body_size_max=_HANDSHAKE_SIZE_MAX)
        self._send: Cipher | None = None
        self._receive: Cipher | None = None
        self._broken: str | None = None
        self._sealed = memoryview(b"")
        self.answer = b""  # a handshake message to send; take it and leave b""
        self.peer_ended = False

    @property
    def open(self) -> bool:
        """Whether the handshake is done."""
        return self._receive is not None

    @property
    def remote_static(self) -> bytes:
        """The peer's X25519 public key, proven once the first message has come in."""
        return self._handshake.remote_static

    @property
    def breach(self) -> str | None:
        """What came in that was not the peer's, in its place; None for nothing, or a mere cut."""
        return None if self._broken == _CUT else self._broken

    def hello(self) -> bytes:
        """Return the initiator's handshake message."""
        return _frame(self._handshake.write())

    def feed(self, data: Buffer) -> None:
        """Take bytes from the connection; call `messages` before feeding again."""
        self._frames.feed(data)

    def messages(self) -> list[bytes]:
        """Return the messages that came in. RemoteProtocolError ends the channel for good."""
        self._check()
        out: list[bytes] = []
        try:
            while (body := self._frames.next_body()) is not None:
                self._take(body, out)
        except RemoteProtocolError as error:
            self._breach(error, anything_before=bool(out))
        return out

    def data(self) -> bytearray:
        """Return what the messages that came in carry, as one piece; raises as `messages` does.

        Only after the handshake: large data are decrypted in their place.
        """
        assert self._receive is not None, "there are no data before the handshake is done"
        self._check()
        bodies: list[memoryview] = []
        breach: RemoteProtocolError | None = None
        try:
            while (body := self._frames.next_body()) is not None:
                bodies.append(body)
        except RemoteProtocolError as error:
            breach = error
        out = bytearray(sum(max(len(body) - TAG_SIZE, 0) for body in bodies))
        view, at = memoryview(out), 0
        try:
            for body in bodies:
                self._check_not_ended()
                end = at + max(len(body) - TAG_SIZE, 0)
                self._receive.decrypt_into(view[at:end], body)
                self.peer_ended = at == end
                at = end
        except RemoteProtocolError as error:
            breach = error
        if breach is None:
            return out
        self._breach(breach, anything_before=bool(at))
        return out[:at]

    def connection_ended(self) -> None:
        """Take note that no more bytes come; RemoteProtocolError unless the peer ended the stream."""
        if not self.peer_ended or not self._frames.at_boundary:
            self._broken = self._broken or _CUT
            raise RemoteProtocolError(self._broken)

    def seal(self, data: Buffer) -> memoryview:
        """Return the bytes that carry `data`, in as many messages as it takes; none for no data.

        They are valid until the next call: large data are sealed without allocating each time.
        """
        if self._send is None:
            raise LocalProtocolError("the handshake is not done")
        view = memoryview(data)
        size = len(view) + _AROUND * -(-len(view) // DATA_SIZE_MAX)
        if len(self._sealed) < size:
            self._sealed = memoryview(bytearray(size))
        at = 0
        for start in range(0, len(view), DATA_SIZE_MAX):
            piece = view[start : start + DATA_SIZE_MAX]
            end = at + _AROUND + len(piece)
            self._sealed[at : at + 2] = (len(piece) + TAG_SIZE).to_bytes(2, "big")
            self._send.encrypt_into(self._sealed[at + 2 : end], piece)
            at = end
        return self._sealed[:size]

    def end(self) -> bytes:
        """Return the bytes that end the stream in this direction."""
        if self._send is None:
            raise LocalProtocolError("the handshake is not done")
        return _frame(self._send.encrypt(b""))

    def _check(self) -> None:
        if self._broken is not None:
            raise RemoteProtocolError(self._broken)

    def _check_not_ended(self) -> None:
        if self.peer_ended:
            raise RemoteProtocolError("a message after the end of the stream")

    def _breach(self, error: RemoteProtocolError, *, anything_before: bool) -> None:
        """Take note of a breach. What came before it is authentic: it is given, the next call raises."""
        self._broken = str(error)
        if not anything_before:
            raise error

    def _take(self, body: memoryview, out: list[bytes]) -> None:
        self._check_not_ended()
        if self._receive is not None:
            data = self._receive.decrypt(body)
            self.peer_ended = not data
            if data:
                out.append(data)
            return
        if self._handshake.read(bytes(body)):
            raise RemoteProtocolError("a handshake message with a payload")
        if not self._handshake.initiator:
            self.answer = _frame(self._handshake.write())
        self._send, self._receive = self._handshake.split()
        self._frames.body_size_max = MESSAGE_SIZE_MAX


def _frame(message: bytes) -> bytes:
    return frame([message], prefix_size=2, body_size_max=MESSAGE_SIZE_MAX)


def check_verdict(message: bytes | bytearray) -> None:
    """Return if the responder's first message lets us in; Refused, RemoteProtocolError."""
    if message.startswith(NO):
        raise Refused(message[len(NO) :].decode(errors="replace"))
    if message != YES:
        raise RemoteProtocolError("no verdict in the peer's first message")
