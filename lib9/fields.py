"""The kinds of field that messages are made of; each knows its bytes, its limits and its name.

`pack` appends buffers to a list, without copying large ones; `unpack` reads from an offset and
returns the value and the next offset. Large values come back as views of the body. `context` is what
a protocol's own fields need to know besides the value; those here need nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol

from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.framing import Buffer

STRING_SIZE_MAX: Final = 1024


class Field(Protocol):
    """One field of a message."""

    @property
    def text(self) -> str:
        """Its layout, as the reference page has it."""
        ...

    def pack(self, value: Any, out: list[Buffer], context: Any) -> None:
        """Append the bytes of `value` to `out`; LocalProtocolError if it is out of range."""
        ...

    def unpack(self, body: memoryview, at: int, context: Any) -> tuple[Any, int]:
        """Return the value at offset `at` and the offset behind it; RemoteProtocolError if bad."""
        ...


def end_of(body: memoryview, at: int, size: int) -> int:
    """Return the offset behind `size` bytes; RemoteProtocolError if the body ends before."""
    end = at + size
    if end > len(body):
        raise RemoteProtocolError("the message ends inside a field")
    return end


@dataclass(frozen=True, slots=True)
class UInt:
    """An unsigned integer, or an enumeration kept as one."""

    size: int
    enum: type[IntEnum] | None = None
    none_is_zero: bool = False

    def of(self, enum: type[IntEnum]) -> UInt:
        return UInt(self.size, enum)

    def or_none(self) -> UInt:
        return UInt(self.size, self.enum, none_is_zero=True)

    @property
    def text(self) -> str:
        name = f" {self.enum.__name__}" if self.enum else ""
        return f"u{8 * self.size}{name}{' or 0' if self.none_is_zero else ''}"

    def pack(self, value: Any, out: list[Buffer], context: Any) -> None:
        number = 0 if value is None and self.none_is_zero else value
        if not 0 <= number < 1 << 8 * self.size:
            raise LocalProtocolError(f"{number} does not fit in {self.size} bytes")
        out.append(int(number).to_bytes(self.size, "big"))

    def unpack(self, body: memoryview, at: int, context: Any) -> tuple[Any, int]:
        end = end_of(body, at, self.size)
        number = int.from_bytes(body[at:end], "big")
        if number == 0 and self.none_is_zero:
            return None, end
        if self.enum is None:
            return number, end
        try:
            return self.enum(number), end
        except ValueError:
            raise RemoteProtocolError(f"invalid {self.enum.__name__.lower()} {number}") from None


@dataclass(frozen=True, slots=True)
class Pad:
    """Bytes that carry nothing: sent as zeros, ignored when received."""

    size: int

    @property
    def text(self) -> str:
        return f"pad[{self.size}]"

    def pack(self, value: None, out: list[Buffer], context: Any) -> None:
        out.append(bytes(self.size))

    def unpack(self, body: memoryview, at: int, context: Any) -> tuple[None, int]:
        return None, end_of(body, at, self.size)


@dataclass(frozen=True, slots=True)
class Counted:
    """A byte count, then the bytes."""

    count_size: int
    size_max: int
    view: bool = False  # give a view of the body instead of a copy

    @property
    def text(self) -> str:
        return f"u{8 * self.count_size} n, bytes[n]"

    def pack(self, value: Buffer, out: list[Buffer], context: Any) -> None:
        if len(value) > self.size_max:
            raise LocalProtocolError(f"field of {len(value)} bytes, the limit is {self.size_max}")
        out.append(len(value).to_bytes(self.count_size, "big"))
        out.append(value)

    def unpack(self, body: memoryview, at: int, context: Any) -> tuple[Buffer, int]:
        start = end_of(body, at, self.count_size)
        size = int.from_bytes(body[at:start], "big")
        if size > self.size_max:
            raise RemoteProtocolError(f"field of {size} bytes, the limit is {self.size_max}")
        end = end_of(body, start, size)
        return (body[start:end] if self.view else bytes(body[start:end])), end


_TEXT_BYTES = Counted(2, STRING_SIZE_MAX)


@dataclass(frozen=True, slots=True)
class Text:
    """UTF-8 without NUL."""

    text: str = f"string: u16 n <= {STRING_SIZE_MAX}, UTF-8[n] without NUL"

    def pack(self, value: str, out: list[Buffer], context: Any) -> None:
        if "\0" in value:
            raise LocalProtocolError("NUL in a string")
        _TEXT_BYTES.pack(value.encode(), out, context)

    def unpack(self, body: memoryview, at: int, context: Any) -> tuple[str, int]:
        raw, end = _TEXT_BYTES.unpack(body, at, context)
        try:
            value = bytes(raw).decode()
        except UnicodeDecodeError:
            raise RemoteProtocolError("a string is not UTF-8") from None
        if "\0" in value:
            raise RemoteProtocolError("NUL in a string")
        return value, end


@dataclass(frozen=True, slots=True)
class Rest:
    """All bytes to the end of the body."""

    text: str = "bytes to the end"

    def pack(self, value: Buffer, out: list[Buffer], context: Any) -> None:
        out.append(value)

    def unpack(self, body: memoryview, at: int, context: Any) -> tuple[Buffer, int]:
        return body[at:], len(body)


@dataclass(frozen=True, slots=True)
class Record:
    """Fields in a row; `build` makes the value of them, None a plain tuple."""

    build: Callable[..., Any] | None
    fields: tuple[tuple[str, Field], ...]

    @property
    def text(self) -> str:
        return "(" + ", ".join(f"{name} {field.text}" for name, field in self.fields) + ")"

    def pack(self, value: Any, out: list[Buffer], context: Any) -> None:
        for index, (name, field) in enumerate(self.fields):
            field.pack(getattr(value, name) if self.build else value[index], out, context)

    def unpack(self, body: memoryview, at: int, context: Any) -> tuple[Any, int]:
        values = []
        for _, field in self.fields:
            value, at = field.unpack(body, at, context)
            values.append(value)
        return (self.build(*values) if self.build else tuple(values)), at


@dataclass(frozen=True, slots=True)
class Many:
    """A count, then that many of the same; the size of the body bounds them."""

    of: Field

    @property
    def text(self) -> str:
        return f"u32 n, n times {self.of.text}"

    def pack(self, value: tuple[Any, ...], out: list[Buffer], context: Any) -> None:
        out.append(len(value).to_bytes(4, "big"))
        for item in value:
            self.of.pack(item, out, context)

    def unpack(self, body: memoryview, at: int, context: Any) -> tuple[tuple[Any, ...], int]:
        count, at = U32.unpack(body, at, context)
        if count > len(body) - at:
            raise RemoteProtocolError("more items announced than there are bytes")
        items = []
        for _ in range(count):
            item, at = self.of.unpack(body, at, context)
            items.append(item)
        return tuple(items), at


U8: Final = UInt(1)
U32: Final = UInt(4)
U64: Final = UInt(8)
VAR: Final = Counted(1, 0xFF)
STRING: Final = Text()
REST: Final = Rest()
