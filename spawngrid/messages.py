"""Messages made of fields, by a table: what every protocol of the grid is packed with. Pure.

A body is a code (u8) and the fields in order, behind its size (u32). Integers are unsigned and
big-endian.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Generic, TypeVar

from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.framing import Buffer, FrameBuffer, frame
from venti_store.fields import Context, Field
from venti_store.score import BLAKE3

PREFIX_SIZE: Final = 4
_CONTEXT: Final = Context(BLAKE3)  # no field of these protocols depends on it

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Layout:
    """The code of a message, and the kinds of its fields, in the order of the dataclass."""

    code: int
    fields: tuple[Field, ...] = ()


class Table(Generic[M]):
    """One protocol: its messages, and the largest body that either side may send."""

    def __init__(self, layouts: Mapping[type[M], Layout], body_size_max: int) -> None:
        self.layouts = layouts
        self.body_size_max = body_size_max
        self._names = {
            kind: tuple(f.name for f in fields(kind))  # type: ignore[arg-type]
            for kind in layouts
        }
        self._by_code = {layout.code: kind for kind, layout in layouts.items()}
        assert len(self._by_code) == len(layouts), "two messages share a code"

    def pack(self, message: M) -> bytes:
        """Return the body that carries `message`; LocalProtocolError if it cannot."""
        kind = type(message)
        layout = self.layouts[kind]
        out: list[Buffer] = [layout.code.to_bytes(1, "big")]
        for name, field in zip(self._names[kind], layout.fields, strict=True):
            field.pack(getattr(message, name), out, _CONTEXT)
        body = b"".join(out)
        if len(body) > self.body_size_max:
            raise LocalProtocolError(f"{kind.__name__}: longer than {self.body_size_max} bytes")
        return body

    def unpack(self, body: memoryview) -> M:
        """Return the message; RemoteProtocolError for a body that `pack` could not have made."""
        kind = self._by_code.get(body[0]) if body else None
        if kind is None:
            raise RemoteProtocolError("unknown message")
        at = 1
        values: list[Any] = []
        for field in self.layouts[kind].fields:
            value, at = field.unpack(body, at, _CONTEXT)
            values.append(value)
        if at != len(body):
            raise RemoteProtocolError(f"{len(body) - at} bytes after a {kind.__name__}")
        return kind(*values)

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
