"""The bytes of entries and roots, said once: pack, unpack, sizes, docs and tests all use these tables.

Both formats are the same table with scores of another length. Source: venti(6).
"""

import struct
from dataclasses import dataclass
from typing import Final

from venti_store.kind import BLOCK_SIZE_MAX, BLOCK_SIZE_MAX_CLASSIC
from venti_store.score import BLAKE3, SHA1, Family


@dataclass(frozen=True, slots=True)
class Field:
    """A field: `code` is for struct, where `{score}` stands for the bytes in a score."""

    name: str
    code: str
    meaning: str


ENTRY: Final = (
    Field("gen", "I", "generation: counts how often this slot was used again"),
    Field("psize", "H", "size of pointer blocks"),
    Field("dsize", "H", "size of data blocks, or of the blocks of a directory"),
    Field("flags", "B", "the flags below"),
    Field("reserved", "5x", "zero"),
    Field("size", "6s", "bytes in the stream, below 2^48"),
    Field("score", "{score}s", "the top block"),
)
ROOT: Final = (
    Field("version", "H", "2; bit 15: blocksize is in the big form"),
    Field("name", "128s", "what the tree is called, padded with zeros"),
    Field("type", "128s", "`vac`, padded with zeros"),
    Field("score", "{score}s", "a block of entries"),
    Field("blocksize", "H", "data block size the tree was written with"),
    Field("prev", "{score}s", "the root before this one, or no block"),
)
ROOT_VERSION: Final = 2
ROOT_BIG: Final = 0x8000
NAME_SIZE: Final = 128

ACTIVE: Final = 0x01
DIRECTORY: Final = 0x02
DEPTH: Final = 0x1C
DEPTH_SHIFT: Final = 2
LOCAL: Final = 0x20
BIG: Final = 0x40
NO_ARCHIVE: Final = 0x80
FLAGS: Final = {
    ACTIVE: "active: an entry without it is an unused slot",
    DIRECTORY: "directory: the leaves hold entries",
    DEPTH: "depth: levels of pointer blocks, 0 to 7",
    LOCAL: "local: has no meaning here; ignored when read, clear when written",
    BIG: "big: psize and dsize are in the big form",
    NO_ARCHIVE: "no archive: fossil leaves the stream out of archives",
}

BLOCK_SIZE_MIN: Final = 256  # of blocks that entries and roots may speak of
STREAM_SIZE_MAX: Final = (1 << 48) - 1  # bytes in one stream
_BIG_MANTISSA_MAX: Final = (1 << 11) - 1


@dataclass(frozen=True, slots=True)
class Layout:
    """What one hash family makes of the tables, and its limits."""

    entry: struct.Struct
    root: struct.Struct
    block_size_max: int
    leaves_max: int


def packer(fields: tuple[Field, ...], score_size: int) -> struct.Struct:
    """Return the struct of a table for scores of `score_size` bytes."""
    return struct.Struct(">" + "".join(field.code.format(score=score_size) for field in fields))


def _layout(family: Family, block_size_max: int, leaves_max: int) -> Layout:
    size = family.size
    return Layout(packer(ENTRY, size), packer(ROOT, size), block_size_max, leaves_max)


LAYOUTS: Final = {  # by score size: hashing an int is cheap, hashing a Family is not
    SHA1.size: _layout(SHA1, BLOCK_SIZE_MAX_CLASSIC, 1 << 31),
    BLAKE3.size: _layout(BLAKE3, BLOCK_SIZE_MAX, STREAM_SIZE_MAX // BLOCK_SIZE_MIN + 1),
}


def pack_big(size: int) -> int:
    """Return the big form of a size: eleven bits, shifted left by the five below them.

    ValueError when eleven bits do not hold it exactly.
    """
    shift = max(0, size.bit_length() - 11)
    if size >> shift << shift != size:
        raise ValueError(f"{size} bytes: this block size cannot be written in an entry")
    return (size >> shift) << 5 | shift


def unpack_big(packed: int) -> int:
    """Return the size that a big form means."""
    return (packed >> 5) << (packed & 31)
