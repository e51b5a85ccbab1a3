"""Section 0x55 of a DirEntry: what Linux knows of a file and vac does not.

A version byte, then fields in ascending order of their tags: tag u8, length u16, bytes. `TAGS` is
the format. No field holds a score: what is large is a stream with an entry slot of its own, so
that a walk which knows only hash trees reaches every byte.
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from fossil_fs.format.xattrs import Xattrs, pack_xattrs, unpack_xattrs
from venti_store.errors import BadTree

VERSION: Final = 1
SECOND: Final = 1_000_000_000  # nanoseconds


class Tag(NamedTuple):
    """A field: `code` is its struct, or None for the list of extended attributes."""

    number: int
    name: str
    code: str | None
    parts: str
    meaning: str


TAGS: Final = (
    Tag(1, "owner", ">II", "uid u32, gid u32", "numeric owner; wins over the names"),
    Tag(
        2, "time", ">Ii", "nanoseconds u32, era i32", "refines mtime: seconds = mtime + era * 2^32"
    ),
    Tag(3, "device", ">II", "major u32, minor u32", "of a device file"),
    Tag(4, "xattrs", None, "see below", "extended attributes, all of them"),
    Tag(5, "xattr_slot", ">I", "slot u32", "entry slot of a stream with the extended attributes"),
    Tag(
        6,
        "link",
        ">Q",
        "link u64",
        "this is a name of an inode in the root's links; nothing else here",
    ),
    Tag(7, "nlink", ">I", "count u32", "number of names; in the root's links only"),
    Tag(
        8, "saved", ">Q", "nanoseconds u64", "when a mount was saved; in the root's own record only"
    ),
)


@dataclass(frozen=True, slots=True)
class Extra:
    """The section's content; None (or no xattrs) where a field is absent."""

    owner: tuple[int, int] | None = None
    time: tuple[int, int] | None = None
    device: tuple[int, int] | None = None
    xattrs: Xattrs = ()
    xattr_slot: int | None = None
    link: int | None = None
    nlink: int | None = None
    saved: int | None = None


_HEAD = struct.Struct(">BH")
_STRUCTS = {tag.name: struct.Struct(tag.code) for tag in TAGS if tag.code}
_BY_NUMBER = {tag.number: tag for tag in TAGS}
_USUAL = struct.Struct(">BBHIIBHIi")  # owner and time alone: nearly every record, so read at once
_USUAL_HEADS = (VERSION, 1, 8, 2, 8)


def pack_extra(extra: Extra) -> bytes:
    """Return the section's bytes; struct.error if a number does not fit its field."""
    parts = [bytes((VERSION,))]
    for tag in TAGS:
        value = getattr(extra, tag.name)
        if value is None or value == ():
            continue
        if tag.code is None:
            data = pack_xattrs(value)
        elif isinstance(value, tuple):
            data = _STRUCTS[tag.name].pack(*value)
        else:
            data = _STRUCTS[tag.name].pack(value)
        parts += (_HEAD.pack(tag.number, len(data)), data)
    return b"".join(parts)


def unpack_extra(data: bytes) -> Extra:
    """Return what the section says. Unknown tags are passed over; BadTree for what makes no sense."""
    if len(data) == _USUAL.size:
        version, first, size, uid, gid, second, size2, nanoseconds, era = _USUAL.unpack(data)
        if (version, first, size, second, size2) == _USUAL_HEADS and nanoseconds < SECOND:
            return Extra((uid, gid), (nanoseconds, era))
    if not data or data[0] != VERSION:
        raise BadTree(
            f"section 0x55 of version {data[0] if data else 'none'}: only {VERSION} is known"
        )
    values: dict[str, object] = {}
    offset, before = 1, 0
    while offset < len(data):
        if offset + _HEAD.size > len(data):
            raise BadTree("section 0x55 ends too early")
        number, length = _HEAD.unpack_from(data, offset)
        offset += _HEAD.size + length
        if offset > len(data) or number <= before:
            raise BadTree(f"section 0x55: field {number} ends too early or is out of order")
        before = number
        tag = _BY_NUMBER.get(number)
        if tag is not None:
            values[tag.name] = _unpack_field(tag, data[offset - length : offset])
    extra = Extra(**values)  # type: ignore[arg-type]
    if extra.time is not None and extra.time[0] >= SECOND:
        raise BadTree(f"section 0x55: {extra.time[0]} nanoseconds")
    if extra.xattrs and extra.xattr_slot is not None:
        raise BadTree("section 0x55: extended attributes both here and in a stream")
    return extra


def _unpack_field(tag: Tag, data: bytes) -> object:
    if tag.code is None:
        return unpack_xattrs(data)
    layout = _STRUCTS[tag.name]
    if len(data) != layout.size:
        raise BadTree(f"section 0x55: {tag.name} of {len(data)} bytes")
    values = layout.unpack(data)
    return values if len(values) > 1 else values[0]
