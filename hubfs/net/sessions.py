"""What a server remembers of each client between its connections: readers, and what it answered.

A client that comes back within SESSION_SECONDS finds its readers where they were. A request that
changes something is carried out once, however often it is repeated: the answers to the last
REPLIES_MAX of them are kept.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from hubfs.flow import Flow
from hubfs.hub import Reader
from hubfs.namespace import Node
from hubfs.net import wire
from hubfs.net.visitors import Visitor

SESSION_SECONDS: Final = 60.0
SESSIONS_MAX: Final = 1024
REPLIES_MAX: Final = 4096  # more than a client has under way: see `link.CALLS_MAX`
READERS_MAX: Final = 4096  # of one session


class Connected(Protocol):
    """A connection of a client."""

    @property
    def cancel(self) -> Callable[[], None]: ...


@dataclass(slots=True, eq=False)
class Session:
    """One client: `left` is when its last connection ended, None while it has one."""

    visitor: Visitor
    place: str
    readers: dict[int, tuple[Node, Reader]] = field(default_factory=dict)
    replies: OrderedDict[int, wire.Message] = field(default_factory=OrderedDict)
    written: int = 0
    left: float | None = None
    connection: Connected | None = None  # its latest

    def remember(self, tag: int, reply: wire.Message) -> None:
        """Keep the answer to a request that may be repeated."""
        self.replies[tag] = reply
        if len(self.replies) > REPLIES_MAX:
            self.replies.popitem(last=False)

    def add_reader(self, number: int, node: Node, reader: Reader) -> None:
        self.readers[number] = (node, reader)

    def line(self) -> str:
        """Return what the status says of this client."""
        lost = sum(node.hub.lost(r) for node, r in self.readers.values() if node.hub is not None)
        state = "" if self.left is None else " away"
        return (
            f"client {self.visitor.name} at {self.place}:{state} readers {len(self.readers)} "
            f"written {self.written} lost {lost}"
        )


class Sessions:
    """All clients of a server."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._sessions: dict[tuple[str, bytes], Session] = {}

    def resume(self, visitor: Visitor, place: str, name: bytes) -> tuple[Session, bool]:
        """Return the session that this visitor calls `name`, and whether it was there.

        Where there are SESSIONS_MAX, one that has been away for long gives way; EUSERS if none is.
        """
        key = (visitor.name, name)
        session = self._sessions.get(key)
        if session is not None:
            session.left, session.visitor, session.place = None, visitor, place
            return session, True
        if len(self._sessions) >= SESSIONS_MAX:
            away = [(s.left, key) for key, s in self._sessions.items() if s.left is not None]
            if not away:
                raise OSError(errno.EUSERS, f"{SESSIONS_MAX} clients are the limit")
            self._forget(min(away)[1])
        session = self._sessions[key] = Session(visitor, place)
        return session, False

    def forget_old(self, now: float) -> None:
        """End the sessions whose client has not come back in time."""
        for key, session in list(self._sessions.items()):
            if session.left is not None and now - session.left > SESSION_SECONDS:
                self._forget(key)

    def _forget(self, key: tuple[str, bytes]) -> None:
        for node, reader in self._sessions.pop(key).readers.values():
            self._flow.detach(node, reader)

    def lines(self) -> list[str]:
        """Return the lines of the status."""
        return [session.line() for session in self._sessions.values()]
