"""Messages made of fields, by a table: the bytes of each are said once.

Packing, unpacking, the reference pages and the strategies of tests are made from such tables. A body is
a code (u8), a tag that binds a reply to its request, and the fields in order; the framing around it
is `lib9.framing`'s. Integers are unsigned and big-endian.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.fields import Field, Pad
from lib9.framing import Buffer

M = TypeVar("M")


class UnknownMessage(RemoteProtocolError):
    """No message of this protocol has this code."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The code of a message, and its fields in the order of the dataclass; pads have no name in it."""

    code: int
    fields: tuple[Field, ...] = ()


class Table(Generic[M]):
    """The messages of one protocol."""

    def __init__(self, layouts: Mapping[type[M], Layout], *, tag_size: int) -> None:
        """`tag_size` is that of tags in bytes, 0 for a protocol without them."""
        self.layouts = layouts
        self._head_size = 1 + tag_size
        self._tag_size = tag_size
        self._named = {kind: tuple(_named(kind, layout)) for kind, layout in layouts.items()}
        self._by_code = {layout.code: kind for kind, layout in layouts.items()}
        assert len(self._by_code) == len(layouts), "two messages share a code"

    def named(self, kind: type[M]) -> tuple[tuple[str, Field], ...]:
        """Return the fields of a message with their names; those of pads are empty."""
        return self._named[kind]

    def pack(self, tag: int, message: M, context: object = None) -> list[Buffer]:
        """Return the body that carries `message`, in parts; LocalProtocolError if it cannot."""
        kind = type(message)
        named = self._named.get(kind)
        if named is None:
            raise LocalProtocolError(f"this protocol has no {kind.__name__}")
        head = self.layouts[kind].code.to_bytes(1, "big") + tag.to_bytes(self._tag_size, "big")
        out: list[Buffer] = [head]
        for name, field in named:
            field.pack(getattr(message, name) if name else None, out, context)
        return out

    def unpack(self, body: memoryview, context: object = None) -> tuple[int, M]:
        """Return the tag and the message of a body; inverse of `pack`.

        Raises RemoteProtocolError for every body that `pack` could not have made, pads aside.
        """
        if len(body) < self._head_size:
            raise RemoteProtocolError("a message without code and tag")
        kind = self._by_code.get(body[0])
        if kind is None:
            raise UnknownMessage(f"unknown message {body[0]}")
        values: list[Any] = []
        at = self._head_size
        for name, field in self._named[kind]:
            value, at = field.unpack(body, at, context)
            if name:
                values.append(value)
        if at != len(body):
            raise RemoteProtocolError(f"{len(body) - at} bytes after a {kind.__name__}")
        return int.from_bytes(body[1 : self._head_size], "big"), kind(*values)


def _named(kind: type[Any], layout: Layout) -> Iterator[tuple[str, Field]]:
    names = iter(fields(kind))
    for field in layout.fields:
        yield "" if isinstance(field, Pad) else next(names).name, field
