"""The bytes of one log record: a header, the score, and the block as it is or compressed.

`HEADER` is the whole format: pack, unpack, the page docs/reference/formats/store.md and the tests
follow it. The check covers header and score; the payload is covered by the score itself.
"""

import struct
import threading
import zlib
from typing import Final, NamedTuple

import zstandard

from venti_store.kind import BLOCK_SIZE_MAX, BLOCK_SIZE_MAX_CLASSIC, Kind
from venti_store.score import SHA1, Buffer, Family, Score


class Field(NamedTuple):
    """One field of the header: its struct code (big-endian) and what it means."""

    name: str
    code: str
    meaning: str


HEADER: Final = (
    Field("magic", "H", "0x7642"),
    Field("version", "B", "1"),
    Field("kind", "B", "the block's type on disk; 0: a name record"),
    Field("coding", "B", "0: the payload is the block; 1: one zstd frame without a content size"),
    Field("score_size", "B", "bytes in the score: 20 or 32"),
    Field("zero", "H", "0"),
    Field("length", "I", "bytes in the block, uncompressed"),
    Field("check", "I", "CRC-32 of all the fields before this one, then the score"),
)
_HEAD = struct.Struct(">" + "".join(field.code for field in HEADER[:-1]))
_CHECK = struct.Struct(">" + HEADER[-1].code)
HEADER_SIZE: Final = _HEAD.size + _CHECK.size

MAGIC: Final = 0x7642
VERSION: Final = 1
RAW: Final = 0
ZSTD: Final = 1
NAME: Final = 0  # the `kind` of a name record
NAME_SIZE_MAX: Final = 16 << 10  # bytes in a name record: a line of text and a signature, with room

MISMATCH: Final = "bytes do not match the score"

ZSTD_LEVEL: Final = 1  # the fastest; higher levels win little on 64 KiB
_SAVING: Final = 16  # compressed must be smaller by 1/16: less saves no page, and costs every read
_SAMPLE_MIN: Final = 16 << 10  # from this size on a sample tells cheaply what will not compress
_SAMPLE: Final = 1 << 10  # bytes taken at each of two places

_KINDS: Final = {int(kind): kind for kind in Kind}
_local = threading.local()  # a zstd context serves one thread at a time


class BadRecord(ValueError):
    """These bytes are no record, or not the record that was looked for; the text says why."""


class Header(NamedTuple):
    """What a record says of itself. `kind` is None for a name record."""

    kind: Kind | None
    coding: int
    length: int
    score: Score


def block_size_max(family: Family) -> int:
    """Return the most bytes that a block of this hash family may have."""
    return BLOCK_SIZE_MAX_CLASSIC if family is SHA1 else BLOCK_SIZE_MAX


def encode(kind: Kind | None, score: Score, data: Buffer) -> bytes:
    """Return the record for a block, or with `kind` None for a name record.

    The caller has checked score and size. The result shares nothing with `data`.
    """
    packed = None if kind is None else _compress(data)
    coding, payload = (RAW, data) if packed is None else (ZSTD, packed)
    head = _HEAD.pack(MAGIC, VERSION, kind or NAME, coding, len(score), 0, len(data))
    check = zlib.crc32(score, zlib.crc32(head))
    return b"".join((head, _CHECK.pack(check), score, payload))


def read_header(record: Buffer) -> Header:
    """Return what the record says of itself, checked; BadRecord if it is damaged."""
    if len(record) < HEADER_SIZE:
        raise BadRecord("record is cut short")
    magic, version, kind, coding, score_size, _zero, length = _HEAD.unpack_from(record)
    score = bytes(record[HEADER_SIZE : HEADER_SIZE + score_size])
    (check,) = _CHECK.unpack_from(record, _HEAD.size)
    if magic != MAGIC or check != zlib.crc32(score, zlib.crc32(record[: _HEAD.size])):
        raise BadRecord("record header is damaged")
    if version != VERSION:
        raise BadRecord(f"record version {version} is not known")
    if (kind != NAME and kind not in _KINDS) or coding not in (RAW, ZSTD):
        raise BadRecord(f"record has kind {kind}, coding {coding}")
    if length > (BLOCK_SIZE_MAX if kind else NAME_SIZE_MAX):
        raise BadRecord(f"record says {length} bytes")
    return Header(_KINDS.get(kind), coding, length, Score(score))


def payload(record: Buffer, header: Header) -> Buffer:
    """Return the block's bytes, not yet verified: of a raw record a part of `record`, not a copy."""
    body = memoryview(record)[HEADER_SIZE + len(header.score) :]
    if header.coding == RAW:
        if len(body) != header.length:
            raise BadRecord(f"record holds {len(body)} bytes, not {header.length}")
        return body
    return decompress(body, header.length)


def find_body(record: Buffer, score: bytes, kind: Kind | None) -> tuple[int, int, memoryview]:
    """Return (coding, length, payload) of the record that should hold this block; else BadRecord.

    For reads by key, which must be quick: the header's check is not needed where score and kind are
    known and the payload is verified. `length` is within bounds, and that of a raw payload is true.
    """
    if len(record) < HEADER_SIZE:
        raise BadRecord("record is cut short")
    magic, version, kind_number, coding, score_size, _, length = _HEAD.unpack_from(record)
    start = HEADER_SIZE + score_size
    if magic != MAGIC or version != VERSION or record[HEADER_SIZE:start] != score:
        read_header(record)  # says what is wrong, if it is damaged
        raise BadRecord("the index names the record of another block")
    body = memoryview(record)[start:]
    if kind_number != (kind or NAME) or length > BLOCK_SIZE_MAX or coding not in (RAW, ZSTD):
        raise BadRecord("record header is damaged")
    if coding == RAW and len(body) != length:
        raise BadRecord(f"record holds {len(body)} bytes, not {length}")
    return coding, length, body


def verified(record: Buffer, header: Header, family: Family) -> Buffer:
    """Return the block's bytes, which hash to the score in the header; else BadRecord."""
    data = payload(record, header)
    if family.digest(data) != header.score:
        raise BadRecord(MISMATCH)
    return data


def _compress(data: Buffer) -> bytes | None:
    """Return `data` compressed, or None where that saves too little to be worth it."""
    size = len(data)
    if size < 64:
        return None
    compressor: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(
            level=ZSTD_LEVEL, write_content_size=False
        )
    if size >= _SAMPLE_MIN:
        low, high = size // 4, size * 3 // 4
        sample = b"".join((data[low : low + _SAMPLE], data[high : high + _SAMPLE]))
        if len(compressor.compress(sample)) >= len(sample):
            return None
    packed = compressor.compress(data)
    return packed if len(packed) <= size - size // _SAVING else None


def decompress(body: memoryview, length: int) -> bytes:
    """Return the `length` bytes that `body` holds compressed, in no more memory; else BadRecord."""
    # a frame that names its own size would be given that much memory: ours never do
    decompressor: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    try:
        if zstandard.frame_content_size(body) != -1:
            raise BadRecord("compressed bytes are damaged")
        data = decompressor.decompress(body, max_output_size=length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise BadRecord("compressed bytes are damaged") from error
    if len(data) != length:
        raise BadRecord(f"record holds {len(data)} bytes, not {length}")
    return data
