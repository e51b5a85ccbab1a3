"""One end of a venti session as a state machine, without I/O.

Give received bytes to `feed` and take what they mean from `events`; write to the peer what `line`,
`request` and `reply` return. One class is both ends, so each rule is told once. What `events` gives
depends on the bytes alone, never on how they were cut.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.framing import FrameBuffer, frame
from lib9.messages import UnknownMessage
from lib9.sizes import format_count
from venti_store import versions, wire
from venti_store.codec import NAME_SIZE_MAX
from venti_store.interfaces import LogRecord
from venti_store.score import Buffer
from venti_store.wire import Version

TAGS_MAX: Final = 256


class Role(enum.Enum):
    CLIENT = enum.auto()
    SERVER = enum.auto()


class State(enum.Enum):
    LINE = enum.auto()  # before the peer's version line is complete
    HELLO = enum.auto()  # before the hello transaction is complete
    OPEN = enum.auto()
    CLOSED = enum.auto()


@dataclass(frozen=True, slots=True)
class Received:
    """A message the peer sent, under the tag that binds a reply to its request."""

    tag: int
    message: wire.Message


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request that made no sense: answer it with `refuse`, the session goes on."""

    tag: int
    reason: str


@dataclass(slots=True)
class _Owed:
    """What the request under a tag still has to get."""

    reply: type[wire.Reply]
    items_max: int  # blocks, records or flags
    bare: bool = False  # records of blocks come without their bytes
    sizes_max: Sequence[int] = ()  # of blocks, where it is known how large they may be


class Connection:
    """The state of one session; it never touches a socket or a clock."""

    def __init__(self, role: Role, offered: Sequence[Version]) -> None:
        self._role = role
        self._offered = offered
        self._line = versions.LineReader()
        self._head = b""
        self._version: Version | None = None
        self._frames: FrameBuffer | None = None
        self._early = b""  # bytes behind the peer's line, until the framing is known
        self._owed: dict[int, _Owed] = {}
        self._free = list(range(TAGS_MAX - 1, -1, -1))
        self.state = State.LINE

    @property
    def version(self) -> Version:
        """The version in use; known once the peer's line is complete."""
        assert self._version is not None, "before the peer's version line"
        return self._version

    @property
    def requests_open(self) -> int:
        """How many requests wait for their reply."""
        return len(self._owed)

    def line(self) -> bytes:
        """Return the version line that each side sends first."""
        return versions.line(self._offered)

    def request(self, message: wire.Request, sizes_max: Sequence[int] = ()) -> tuple[int, bytes]:
        """Return a free tag and the bytes that send `message` under it.

        `sizes_max` says of each block asked for how large it may be: a larger one is a breach.
        LocalProtocolError when the session does not allow it now, or all tags are in use.
        """
        if self._role is not Role.CLIENT:
            raise LocalProtocolError("only a client sends requests")
        wanted = State.HELLO if isinstance(message, wire.Hello) else State.OPEN
        if self.state is not wanted:
            raise LocalProtocolError(f"{type(message).__name__} in state {self.state.name}")
        if not self._free:
            raise LocalProtocolError(f"{TAGS_MAX} requests are already in flight")
        tag = self._free[-1]
        data = self._frame(tag, message)
        if isinstance(message, wire.Goodbye):
            self.state = State.CLOSED
        else:
            self._free.pop()
            self._owed[tag] = _owed(message, sizes_max)
        return tag, data

    def reply(self, tag: int, message: wire.Reply) -> bytes:
        """Return the bytes that answer the request under `tag`."""
        if self._role is not Role.SERVER:
            raise LocalProtocolError("only a server sends replies")
        self._settle(tag, message, LocalProtocolError)
        return self._frame(tag, message)

    def refuse(self, malformed: Malformed) -> bytes:
        """Return the bytes that tell the peer its request made no sense."""
        return self._frame(malformed.tag, wire.Error(malformed.reason, wire.Fault.BAD_REQUEST))

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes from the peer; RemoteProtocolError if its version line is not for us."""
        if self.state is State.LINE:
            found = self._line.feed(bytes(data))
            if found is None:
                return
            self._head, data = found
            self._version = versions.choose(self._head, self._offered)
            self.state = State.HELLO
        if self._frames is None:
            data = self._settle_framing(self._early + data if self._early else data)
        if self._frames is not None:
            self._frames.feed(data)

    def events(self) -> Iterator[Received | Malformed]:
        """Give what has come in, each once; RemoteProtocolError at the first breach."""
        while self._frames is not None and (body := self._frames.next_body()) is not None:
            if len(body) < 2:
                raise RemoteProtocolError("a frame without code and tag")
            try:
                tag, message = wire.unpack(self.version, body)
            except RemoteProtocolError as error:
                yield self._malformed(body[1], error)
                continue
            refused = self._accept(tag, message)
            yield refused or Received(tag, message)

    def _settle_framing(self, data: bytes | bytearray) -> bytes | bytearray:
        """Decide the framing from the first two bytes and return what to feed to it."""
        version = self.version
        if self._role is Role.SERVER:
            if len(data) < 2:
                self._early = bytes(data)
                return b""
            version = versions.framed_as(version, bytes(data[:2]), self._head, self._offered)
        self._version, self._early = version, b""
        self._frames = FrameBuffer(
            prefix_size=version.prefix_size, body_size_max=version.body_size_max
        )
        return data

    def _frame(self, tag: int, message: wire.Message) -> bytes:
        version = self.version
        return frame(
            wire.pack(version, tag, message),
            prefix_size=version.prefix_size,
            body_size_max=version.body_size_max,
        )

    def _malformed(self, tag: int, error: RemoteProtocolError) -> Malformed:
        """Turn a body that is no message into an event, or end the session where it must end."""
        if self._role is Role.CLIENT or self.state is not State.OPEN or tag in self._owed:
            raise error
        known = not isinstance(error, UnknownMessage)
        return Malformed(tag, f"bad packet: {error}" if known else "unknown request")

    def _accept(self, tag: int, message: wire.Message) -> Malformed | None:
        """Check that `message` may come now, and take note of it."""
        if self.state is State.CLOSED:
            raise RemoteProtocolError("a message after goodbye")
        if self._role is Role.CLIENT:
            if not isinstance(message, wire.Reply):
                raise RemoteProtocolError("a server sent a request")
            self._settle(tag, message, RemoteProtocolError)
            return None
        if self.state is State.HELLO:
            self._accept_hello(tag, message)
            return None
        if tag in self._owed:
            raise RemoteProtocolError(f"tag {tag} is already in use")
        if isinstance(message, wire.Goodbye):
            self.state = State.CLOSED
        elif not isinstance(message, wire.Request) or isinstance(message, wire.Hello):
            return Malformed(tag, "unknown request")
        else:
            self._owed[tag] = _owed(message)
        return None

    def _accept_hello(self, tag: int, message: wire.Message) -> None:
        if not isinstance(message, wire.Hello):
            raise RemoteProtocolError(f"{type(message).__name__} before the hello")
        if tag != 0 or message.version != self.version.name:
            raise RemoteProtocolError(
                f"hello under tag {tag} for version {message.version!r}, not {self.version.name}"
            )
        self._owed[tag] = _owed(message)
        self.state = State.OPEN  # open when accepted, not when answered: cuts must not matter

    def _settle(self, tag: int, message: wire.Reply, error: type[Exception]) -> None:
        """Close the request under `tag`, or count what it still has to get."""
        owed = self._owed.get(tag)
        if owed is None:
            raise error(f"nothing awaits a reply under tag {tag}")
        if isinstance(message, wire.Error):
            self._close(tag)
            return
        if type(message) is not owed.reply:
            raise error(f"{type(message).__name__} where {owed.reply.__name__} is due")
        if (problem := _count(owed, message)) is not None:
            raise error(problem)
        if not getattr(message, "more", 0):
            self._close(tag)
        if isinstance(message, wire.Welcome):
            self.state = State.OPEN

    def _close(self, tag: int) -> None:
        del self._owed[tag]
        self._free.append(tag)


def _owed(message: wire.Request, sizes_max: Sequence[int] = ()) -> _Owed:
    match message:
        case wire.ReadMany(items):
            return _Owed(wire.Blocks, len(items), sizes_max=sizes_max)
        case wire.WriteMany(items) | wire.HaveMany(items):
            items_max = len(items)
        case wire.ReadLog():
            return _Owed(wire.LogEntries, message.count, bare=not message.contents)
        case _:
            items_max = 0
    return _Owed(wire.REPLY_TO[type(message)], items_max)


def _count(owed: _Owed, message: wire.Reply) -> str | None:
    """Take the items of one reply off what is owed; say what is wrong with their number."""
    more = 0
    exact = True
    match message:
        case wire.Blocks():
            more, count = message.more, len(message.blocks)
            if owed.sizes_max and (problem := _too_large(owed, message.blocks)) is not None:
                return problem
        case wire.WriteManyDone():
            count = len(message.scores)
        case wire.HaveManyDone():
            count = len(message.flags)
        case wire.LogEntries():
            more, count, exact = message.more, len(message.records), False
            if owed.bare and any(len(r.data) > _bare_max(r) for r in message.records):
                return "more bytes in the log's entries than were asked for"
        case _:
            return None
    owed.items_max -= count
    if owed.items_max < 0:
        return "more items than were asked for"
    if more and not count:
        return "a part without items"
    if more and exact and not owed.items_max:
        return "more parts announced than items are left"
    if not more and exact and owed.items_max:
        return f"{format_count(owed.items_max, 'item')} missing"
    return None


def _too_large(owed: _Owed, blocks: Sequence[Buffer]) -> str | None:
    """Say what is wrong with the sizes of the blocks that are owed next."""
    told = owed.sizes_max[len(owed.sizes_max) - owed.items_max :]
    for block, size_max in zip(blocks, told, strict=False):
        if len(block) > size_max:
            return f"a block of {len(block)} bytes where at most {size_max} were asked for"
    return None


def _bare_max(record: LogRecord) -> int:
    """Return how many bytes an entry may have that was asked for without the bytes of blocks.

    It bounds what a server makes its client hold: thousands of entries may be asked for at a time.
    """
    return NAME_SIZE_MAX if record.kind is None else 0
