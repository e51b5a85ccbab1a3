"""One request and its answer, over a channel to a storage node."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Final

from lib9 import keys
from lib9.blocking import SecureSocket, connect
from lib9.dial import CannotDial, parse_dial
from lib9.errors import Exit, RemoteProtocolError
from lib9.keys import Identity
from spawngrid.client.grids import Storage, Token
from spawngrid.errors import BadToken, NotAnswering, RequestFailed
from spawngrid.messages import Frames
from spawngrid.request import wire

ANSWER_SECONDS_MAX: Final = 3600.0  # a save uploads what changed
AGAIN_SECONDS_MAX: Final = 60.0  # how long a node that went away is dialled again
_BACKOFF_SECONDS: Final = 0.5
_STATUSES: Final = {int(status) for status in Exit}


def ask(storage: Storage, identity: Identity, words: tuple[str, ...]) -> Iterator[str]:
    """Give the lines of the answer to a request; RequestFailed when it was not done.

    A connection that breaks is made again, and the answer goes on where it was: the request is
    carried out once. NotAnswering when the node stays away.
    """
    mark = os.urandom(wire.MARK_SIZE)
    said = 0
    deadline: float | None = None
    while True:
        try:
            for line in _answer(storage, identity, wire.Ask(wire.VERSION, mark, words), said):
                said += 1
                deadline = None
                yield line
        except (CannotDial, OSError, RemoteProtocolError, NotAnswering) as error:
            now = time.monotonic()
            first = deadline is None and said == 0 and isinstance(error, CannotDial)
            deadline = deadline or now + AGAIN_SECONDS_MAX
            if first or now > deadline:
                raise NotAnswering(f"{storage.name}: {error}") from None
            time.sleep(_BACKOFF_SECONDS)
        else:
            return


def _answer(storage: Storage, identity: Identity, asked: wire.Ask, said: int) -> Iterator[str]:
    socket = _dial(storage, identity, wire.SERVICE)
    try:
        socket.send(wire.TABLE.framed(asked))
        for message in _messages(socket):
            match message:
                case wire.Queued():
                    continue
                case wire.Says(text):
                    if said > 0:
                        said -= 1
                    else:
                        yield text
                case wire.Done():
                    return
                case wire.Failed(status, text):
                    known = Exit(status) if status in _STATUSES else Exit.FAILED
                    raise RequestFailed(text, known)
                case _:
                    raise RemoteProtocolError(f"{type(message).__name__} is no answer")
        raise NotAnswering(f"{storage.name}: the connection was lost")
    finally:
        socket.close()


def enrol(token: Token, identity: Identity, dial: str) -> wire.Enrolled:
    """Become known to a storage node by a token; BadToken, NotAnswering."""
    storage = Storage("", token.dial, token.public)
    socket = _dial(storage, identity, wire.ENROL_SERVICE)
    try:
        enrol = wire.Enrol(wire.VERSION, identity.public, token.secret, dial)
        socket.send(wire.TABLE.framed(enrol))
        for message in _messages(socket):
            if isinstance(message, wire.Enrolled):
                return message
            if isinstance(message, wire.Failed):
                raise BadToken(message.text)
            raise RemoteProtocolError(f"{type(message).__name__} is no answer")
        raise NotAnswering(f"{token.dial}: the connection was lost")
    finally:
        socket.close()


def _dial(storage: Storage, identity: Identity, service: str) -> SecureSocket:
    return connect(
        parse_dial(storage.dial, port="grid"),
        identity.channel_keys(),
        keys.channel_key(storage.public),
        service,
    )


def _messages(socket: SecureSocket) -> Iterator[wire.Message]:
    frames = Frames(wire.TABLE)
    socket.set_timeout(ANSWER_SECONDS_MAX)
    while data := socket.receive():
        frames.feed(data)
        yield from frames.received()
