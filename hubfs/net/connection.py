"""One end of a hub connection as a state machine, without I/O.

Give received bytes to `feed` and take messages from `received`; write what `send` returns. A server
takes Hello first and then requests; a client takes one reply for each of its requests, of the kind
that belongs to it, and the server's Bye.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final

from hubfs.net import wire
from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.framing import Buffer, FrameBuffer

PREFIX_SIZE: Final = 4


class Role(enum.Enum):
    CLIENT = enum.auto()
    SERVER = enum.auto()


class Connection:
    """What may be said next; it never touches a socket or a clock."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._frames = FrameBuffer(prefix_size=PREFIX_SIZE, body_size_max=wire.BODY_SIZE_MAX)
        self._owed: dict[int, type[wire.Request]] = {}  # requests without a reply yet
        self._greeted = False

    def send(self, tag: int, message: wire.Message) -> bytes:
        """Return the bytes of a message; LocalProtocolError if it may not be said now."""
        if self._role is Role.CLIENT:
            self._request(tag, message, LocalProtocolError)
        elif tag or not isinstance(message, wire.Bye):
            self._reply(tag, message, LocalProtocolError)
        return b"".join(framed(wire.pack(tag, message)))

    def feed(self, data: Buffer) -> None:
        """Take received bytes; take all of `received` before feeding again."""
        self._frames.feed(data)

    def received(self) -> Iterator[tuple[int, wire.Message]]:
        """Give tags and messages as they came; RemoteProtocolError at the first breach."""
        while (body := self._frames.next_body()) is not None:
            tag, message = wire.unpack(body)
            if self._role is Role.SERVER:
                self._request(tag, message, RemoteProtocolError)
            elif tag or not isinstance(message, wire.Bye):
                self._reply(tag, message, RemoteProtocolError)
            yield tag, message

    def _request(
        self,
        tag: int,
        message: wire.Message,
        breach: type[LocalProtocolError | RemoteProtocolError],
    ) -> None:
        kind = type(message)
        if kind not in wire.REPLY_TO:
            raise breach(f"{kind.__name__} is no request")
        if isinstance(message, wire.Hello) == self._greeted:
            raise breach(f"{kind.__name__} is out of place")
        if tag == 0 or tag in self._owed:
            raise breach(f"tag {tag} is not free")
        self._greeted = True
        self._owed[tag] = kind

    def _reply(
        self,
        tag: int,
        message: wire.Message,
        breach: type[LocalProtocolError | RemoteProtocolError],
    ) -> None:
        asked = self._owed.get(tag)
        if asked is None:
            raise breach(f"a reply to tag {tag}, which asked nothing")
        if not isinstance(message, wire.Error | wire.REPLY_TO[asked]):
            raise breach(f"{type(message).__name__} does not answer {asked.__name__}")
        del self._owed[tag]


def framed(parts: list[Buffer]) -> list[Buffer]:
    """Return the parts of a body behind its size."""
    return [sum(map(len, parts)).to_bytes(PREFIX_SIZE, "big"), *parts]
