"""DirEntry: what a directory says of one name, in the form vac and fossil share.

`FIELDS` is the format: pack, unpack, the documentation and the tests' strategies come from it.
Source: plan9port's vac and fossil as observed (docs/reference/formats/directory.md).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from venti_store.errors import BadTree
from venti_store.score import Buffer

MAGIC: Final = 0x1C4D9072
VERSIONS: Final = (7, 8, 9)
VERSION: Final = 9  # what is written

SECTION_PLAN9: Final = 1
SECTION_NT: Final = 2
SECTION_QID_SPACE: Final = 3
SECTION_GENERATION: Final = 4
SECTION_EXTRA: Final = 0x55  # ours: section.py

STRING: Final = "string"  # u16 length, then the bytes


class Field(NamedTuple):
    """One field in the order of the bytes; `code` is a struct code, STRING, or padding."""

    name: str
    code: str
    versions: tuple[int, ...]
    meaning: str


FIELDS: Final = (
    Field("elem", STRING, VERSIONS, "the name"),
    Field("entry", "I", VERSIONS, "slot in the source of the directory"),
    Field("gen", "I", (9,), "generation of that slot"),
    Field(
        "mentry",
        "I",
        (9,),
        "a directory's second slot: its meta stream; before version 9 entry + 1",
    ),
    Field("mgen", "I", (9,), "generation of the second slot"),
    Field("qid", "Q", VERSIONS, "number of the file, unique in the archive"),
    Field("", "20x", (7,), "ignored"),
    Field("uid", STRING, VERSIONS, "owner's name"),
    Field("gid", STRING, VERSIONS, "group's name"),
    Field("mid", STRING, VERSIONS, "name of the last who changed it"),
    Field("mtime", "I", VERSIONS, "content last changed, seconds since 1970 modulo 2^32"),
    Field("mcount", "I", VERSIONS, "number of changes"),
    Field("ctime", "I", VERSIONS, "metadata last changed"),
    Field("atime", "I", VERSIONS, "last read"),
    Field("mode", "I", VERSIONS, "mode bits, see below"),
)


@dataclass(frozen=True, slots=True)
class DirEntry:
    """One record, field by field; `sections` are (number, bytes) pairs in their order."""

    elem: bytes
    entry: int = 0
    gen: int = 0
    mentry: int = 0
    mgen: int = 0
    qid: int = 0
    uid: bytes = b""
    gid: bytes = b""
    mid: bytes = b""
    mtime: int = 0
    mcount: int = 0
    ctime: int = 0
    atime: int = 0
    mode: int = 0
    version: int = VERSION
    sections: tuple[tuple[int, bytes], ...] = ()

    def section(self, number: int) -> bytes | None:
        """Return the bytes of the first section with this number, if there is one."""
        for key, data in self.sections:
            if key == number:
                return data
        return None

    @property
    def qid_offset(self) -> int:
        """What is added to the qids of everything below (section 3)."""
        data = self.section(SECTION_QID_SPACE)
        return int.from_bytes(data[:8], "big") if data else 0


_HEAD = struct.Struct(">IHH")  # magic, version, and the length of the first string, the name
_LENGTH = struct.Struct(">H")
_SECTION = struct.Struct(">BH")
_FIXED_SECTIONS = {SECTION_PLAN9: 12, SECTION_QID_SPACE: 16}
_Run = tuple[struct.Struct | None, tuple[str, ...]]


def _runs(version: int) -> Iterator[_Run]:
    """Give the table as runs: a string of its own, or a struct and the names it fills."""
    code, names = ">", tuple[str, ...]()
    for field in FIELDS:
        if version not in field.versions:
            continue
        if field.code != STRING:
            code, names = code + field.code, names + ((field.name,) if field.name else ())
            continue
        if names:
            yield struct.Struct(code), names
            code, names = ">", ()
        yield None, (field.name,)
    yield struct.Struct(code), names


_RUNS: Final = {version: tuple(_runs(version)) for version in VERSIONS}


def pack_direntry(entry: DirEntry) -> bytes:
    """Return the record; struct.error if a number does not fit its field.

    Before version 9 `gen`, `mentry` and `mgen` are not stored: they must be 0, entry + 1, 0.
    """
    parts = [_HEAD.pack(MAGIC, entry.version, len(entry.elem))[:-2]]
    for layout, names in _RUNS[entry.version]:
        if layout is None:
            text: bytes = getattr(entry, names[0])
            parts += (_LENGTH.pack(len(text)), text)
        else:
            parts.append(layout.pack(*[getattr(entry, name) for name in names]))
    for number, data in entry.sections:
        parts += (_SECTION.pack(number, len(data)), data)
    return b"".join(parts)


def unpack_direntry(data: Buffer) -> DirEntry:
    """Return the DirEntry that fills `data` exactly; BadTree where it does not."""
    data = bytes(data)
    values: list[int | bytes] = []  # in the order of the fields, which is DirEntry's own
    try:
        magic, version, _ = _HEAD.unpack_from(data)
        if magic != MAGIC or version not in _RUNS:
            raise BadTree(f"not a directory entry: magic {magic:#x}, version {version}")
        offset = _HEAD.size - 2
        for layout, _ in _RUNS[version]:
            if layout is None:
                start = offset + 2
                offset = start + (data[offset] << 8) + data[start - 1]
                values.append(data[start:offset])
            else:
                values += layout.unpack_from(data, offset)
                offset += layout.size
    except (struct.error, IndexError):
        raise BadTree(f"directory entry of {len(data)} bytes ends too early") from None
    if version < 9:
        values[2:2] = 0, (int(values[1]) + 1) & 0xFFFFFFFF, 0
    sections = _sections(data, offset) if offset < len(data) else ()
    return DirEntry(*values, version, sections)  # type: ignore[arg-type, call-arg]


def _sections(data: bytes, offset: int) -> tuple[tuple[int, bytes], ...]:
    sections: list[tuple[int, bytes]] = []
    seen = set()
    while offset < len(data):
        if offset + _SECTION.size > len(data):
            raise BadTree("directory entry: section ends too early")
        number, length = _SECTION.unpack_from(data, offset)
        offset += _SECTION.size + length
        if offset > len(data):
            raise BadTree(f"directory entry: section {number} ends too early")
        fixed = _FIXED_SECTIONS.get(number)
        if (fixed is not None and fixed != length) or (
            number in seen and (fixed is not None or number == SECTION_EXTRA)
        ):
            raise BadTree(f"directory entry: section {number} repeated or of {length} bytes")
        seen.add(number)
        sections.append((number, data[offset - length : offset]))
    return tuple(sections)


def record_name(record: Buffer) -> bytes:
    """Return the name in a record, without unpacking the rest; BadTree if it is no record."""
    if len(record) >= _HEAD.size:
        magic, _, length = _HEAD.unpack_from(record)
        if magic == MAGIC and _HEAD.size + length <= len(record):
            return bytes(record[_HEAD.size : _HEAD.size + length])
    raise BadTree("not a directory entry")
