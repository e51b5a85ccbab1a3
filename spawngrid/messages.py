"""Messages made of fields, by a table: what every protocol of the grid is packed with. Pure.

A body is a code (u8) and the fields in order, behind its size (u32). Integers are unsigned and
big-endian.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Generic, TypeVar

from lib9 import messages
from lib9.errors import LocalProtocolError
from lib9.framing import Buffer, FrameBuffer, frame
from lib9.messages import Layout

PREFIX_SIZE: Final = 4

M = TypeVar("M")


class Table(Generic[M]):
    """One protocol: its messages, and the largest body that either side may send."""

    def __init__(self, layouts: Mapping[type[M], Layout], body_size_max: int) -> None:
        self.layouts = layouts
        self.body_size_max = body_size_max
        self._table = messages.Table(layouts, tag_size=0)

    def pack(self, message: M) -> bytes:
        """Return the body that carries `message`; LocalProtocolError if it cannot."""
        body = b"".join(self._table.pack(0, message))
        if len(body) > self.body_size_max:
            kind = type(message).__name__
            raise LocalProtocolError(f"{kind}: longer than {self.body_size_max} bytes")
        return body

    def unpack(self, body: memoryview) -> M:
        """Return the message; RemoteProtocolError for a body that `pack` could not have made."""
        return self._table.unpack(body)[1]

    def framed(self, message: M) -> bytes:
        """Return the frame that carries a message."""
        return frame(
            [self.pack(message)], prefix_size=PREFIX_SIZE, body_size_max=self.body_size_max
        )


class Frames(Generic[M]):
    """What came in over a stream, message by message."""

    def __init__(self, table: Table[M]) -> None:
        self._table = table
        self._frames = FrameBuffer(prefix_size=PREFIX_SIZE, body_size_max=table.body_size_max)

    def feed(self, data: Buffer) -> None:
        """Take received bytes; take all of `received` before feeding again."""
        self._frames.feed(data)

    def received(self) -> Iterator[M]:
        """Give the messages that are whole; RemoteProtocolError at the first breach."""
        while (body := self._frames.next_body()) is not None:
            yield self._table.unpack(body)


__all__ = ["Frames", "Layout", "Table"]
