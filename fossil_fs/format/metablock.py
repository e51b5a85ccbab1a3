"""MetaBlock: a block of a directory's meta stream, a header, an index and records.

Two orders of the index exist: after magic 7a names ascend bytewise; after 79 a name that begins
with another comes before it. Readers here use only the index, since vac leaves `free` wrong at
times. Blocks written are canonical: magic 7a, records in index order without holes, exact counts.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from fossil_fs.format.direntry import record_name
from venti_store.errors import BadTree
from venti_store.score import Buffer

MAGIC: Final = 0x5656FC7A
MAGIC_OLD: Final = 0x5656FC79
INDEX_DIVISOR: Final = 100  # bytes of a block for each slot of its index


class Field(NamedTuple):
    """A field of the header."""

    name: str
    code: str
    meaning: str


HEADER: Final = (
    Field("magic", "I", "0x5656fc7a; 0x5656fc79 in what vac writes"),
    Field("size", "H", "bytes used, counting header, index table and holes"),
    Field("free", "H", "bytes of holes inside the used part"),
    Field("maxindex", "H", "slots in the index table"),
    Field("nindex", "H", "slots used"),
)

_HEADER = struct.Struct(">" + "".join(field.code for field in HEADER))
_SLOT = struct.Struct(">HH")
BLOCK_SIZE_MAX: Final = 0xFFFF  # offsets are u16


@dataclass(frozen=True, slots=True)
class MetaBlock:
    """A block as read: `slots` are (offset, length) of the records in `data`, in index order."""

    data: bytes
    magic: int
    slots: tuple[tuple[int, int], ...]

    @property
    def old_order(self) -> bool:
        return self.magic == MAGIC_OLD

    def record(self, position: int) -> bytes:
        offset, length = self.slots[position]
        return self.data[offset : offset + length]

    def name(self, position: int) -> bytes:
        """Return the name at a position of the index; BadTree if no record is there."""
        return record_name(self.record(position))

    def names(self) -> Iterator[bytes]:
        return (self.name(position) for position in range(len(self.slots)))

    def find(self, name: bytes) -> int | None:
        """Return the position of `name`, trying every record: right in any order."""
        for position, here in enumerate(self.names()):
            if here == name:
                return position
        return None

    def bisect(self, name: bytes) -> int:
        """Return the first position whose name is not below `name`, if names ascend bytewise."""
        low, high = 0, len(self.slots)
        while low < high:
            middle = (low + high) // 2
            if self.name(middle) < name:
                low = middle + 1
            else:
                high = middle
        return low


def unpack_metablock(data: Buffer, block_size: int) -> MetaBlock:
    """Return the block in `data`, zero-truncated or not, of a stream with blocks of `block_size`.

    BadTree if the header or the index makes no sense; the records themselves are not looked at.
    """
    data = bytes(data).ljust(_HEADER.size, b"\0")  # truncation cuts into an empty block's header
    magic, size, _, maxindex, nindex = _HEADER.unpack_from(data)
    if magic not in (MAGIC, MAGIC_OLD):
        raise BadTree(f"not a meta block: magic {magic:#x}")
    first = _HEADER.size + _SLOT.size * maxindex
    if not first <= size <= block_size or nindex > maxindex:
        raise BadTree(f"meta block: {nindex} of {maxindex} slots, {size} of {block_size} bytes")
    data = data[:size].ljust(size, b"\0")
    table = data[_HEADER.size : _HEADER.size + _SLOT.size * nindex]
    slots = tuple(_SLOT.iter_unpack(table))
    for offset, length in slots:
        if offset < first or offset + length > size:
            raise BadTree(f"meta block: record at {offset}, {length} bytes, outside the block")
    return MetaBlock(data, magic, slots)


def pack_metablock(records: Iterable[bytes], block_size: int) -> bytes:
    """Return the canonical block holding `records`, which ascend by name; not zero-extended."""
    records = list(records)
    maxindex = block_size // INDEX_DIVISOR
    offset = _HEADER.size + _SLOT.size * maxindex
    slots = []
    for record in records:
        slots.append(_SLOT.pack(offset, len(record)))
        offset += len(record)
    if offset > block_size or len(records) > maxindex:
        raise ValueError(f"{len(records)} records, {offset} bytes in a block of {block_size}")
    head = _HEADER.pack(MAGIC, offset, 0, maxindex, len(records))
    table = b"".join(slots).ljust(_SLOT.size * maxindex, b"\0")
    return b"".join((head, table, *records))


class Packer:
    """Fills blocks in order: a record that finds no room in the last block opens the next.

    `fill_percent` of a block are used, as vac and fossil leave room for records that grow.
    """

    def __init__(self, block_size: int, fill_percent: int = 100) -> None:
        self.block_size = block_size
        self._maxindex = block_size // INDEX_DIVISOR
        self._start = _HEADER.size + _SLOT.size * self._maxindex
        self._limit = block_size * fill_percent // 100
        self._records: list[bytes] = []
        self._size = self._start

    def add(self, record: bytes) -> bytes | None:
        """Take a record and return the block before it, if that is now full; ValueError if too long."""
        if self._start + len(record) > self._limit:
            raise ValueError(f"a record of {len(record)} bytes fits no block")
        full = None
        if self._size + len(record) > self._limit or len(self._records) == self._maxindex:
            full = self.finish()
        self._records.append(record)
        self._size += len(record)
        return full

    def finish(self) -> bytes | None:
        """Return the last block, if any record is in it, and start anew."""
        records, self._records, self._size = self._records, [], self._start
        return pack_metablock(records, self.block_size) if records else None
