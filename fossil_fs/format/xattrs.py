"""Extended attributes as bytes: sorted by name, each as name length u8, value length u32, both.

The same form stands inline in section 0x55 and, when it is long, alone in a stream.
"""

import struct
from typing import Final

from venti_store.errors import BadTree

Xattrs = tuple[tuple[bytes, bytes], ...]

INLINE_MAX: Final = 1024  # bytes of the packed form in a DirEntry; more goes to a stream
STREAM_MAX: Final = 4 << 20  # bytes; Linux lists at most 64 KiB of names, each with up to 64 KiB

_HEAD = struct.Struct(">BI")


def packed_size(name: bytes, value: bytes) -> int:
    """Return what one attribute adds to the packed form."""
    return _HEAD.size + len(name) + len(value)


def pack_xattrs(xattrs: Xattrs) -> bytes:
    """Return the packed form, sorted by name; struct.error if a name or value is too long."""
    parts: list[bytes] = []
    for name, value in sorted(xattrs):
        parts += (_HEAD.pack(len(name), len(value)), name, value)
    return b"".join(parts)


def unpack_xattrs(data: bytes) -> Xattrs:
    """Return the attributes, in order; BadTree if names are empty, not ascending, or cut off."""
    xattrs: list[tuple[bytes, bytes]] = []
    offset, before = 0, b""
    while offset < len(data):
        if offset + _HEAD.size > len(data):
            raise BadTree("extended attributes end too early")
        name_size, value_size = _HEAD.unpack_from(data, offset)
        start = offset + _HEAD.size
        offset = start + name_size + value_size
        name = data[start : start + name_size]
        if offset > len(data) or name <= before or b"\0" in name:
            raise BadTree(f"extended attribute {name!r} cut off, out of order or no name")
        xattrs.append((name, data[start + name_size : offset]))
        before = name
    return tuple(xattrs)
