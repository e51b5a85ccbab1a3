"""What the last run of `vac -a NAME` saw of the host, so that the next reads only what changed.

A record for every directory: a *signature* of each file in it (size, times and inode number on the
host, as they were when it was read), a digest of the node of each directory in it, and the streams
in which the archive has it. A file whose time is not older than the run is remembered without a
signature: it may change again within the same tick of the clock. The file is only believed for the
root it was written with, every record has a checksum, and nothing is lost with it but time.
"""

import mmap
import os
import struct
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

from blake3 import blake3

from venti_store.errors import BadTree
from venti_store.hashtree.entry import Entry, entry_size, pack_entry, unpack_entry
from venti_store.score import Family, Score

MAGIC: Final = b"vac-1\n\0\0"
LINKS: Final = b"\0links"  # the record of the links streams; no path holds a NUL
UNKNOWN: Final = bytes(48)  # the signature of a file that must be read again

_HEADER = struct.Struct("<8sI32sQQ16s")  # magic, dsize, root, index offset, records, index checksum
_INDEX = struct.Struct("<8sQ")
_RECORD = struct.Struct("<16sIIII")  # checksum; bytes of path, entries, files, directories
_SIGNATURE = struct.Struct("<qqqQQQ")


def signature(state: os.stat_result, before_ns: int) -> bytes:
    """Return what must be equal for a file to count as unchanged; UNKNOWN if it is too young.

    `before_ns`: files touched at or after it cannot be told from files touched later.
    """
    if state.st_ctime_ns >= before_ns:
        return UNKNOWN
    return _SIGNATURE.pack(
        state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_mode, 0
    )


def with_number(sign: bytes, number: int | None) -> bytes:
    """Return a signature that also says which number in the links streams the file has, if any."""
    if sign == UNKNOWN:
        return sign
    return sign[:-8] + (0 if number is None else number).to_bytes(8, "little")


def number_of(sign: bytes) -> int | None:
    """Return the number in the links streams that a signature says."""
    return int.from_bytes(sign[-8:], "little") or None


@dataclass(frozen=True, slots=True)
class Record:
    """One directory: `files` and `directories` are `pack_names` of signatures and of digests."""

    path: bytes
    source: Entry
    meta: Entry
    files: bytes
    directories: bytes


def pack_names(items: list[tuple[bytes, bytes]]) -> bytes:
    """Return names, each with a value, as bytes that are equal when all of them are."""
    return b"".join([b"%c%c%b%b" % (len(n), len(v), n, v) for n, v in items])


def unpack_names(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give back what `pack_names` was given."""
    at, end = 0, len(data)
    while at < end:
        name = at + 2
        value = name + data[at]
        following = value + data[at + 1]
        yield data[name:value], data[value:following]
        at = following


def _key(path: bytes) -> bytes:
    return blake3(path).digest(length=8)


class Memory:
    """The records of the last run, read where they lie."""

    def __init__(self, data: "mmap.mmap | bytes", family: Family, index: bytes) -> None:
        self._data = data
        self._family = family
        self._keys = sorted(_INDEX.iter_unpack(index))

    def find(self, path: bytes) -> Record | None:
        """Return the record of the directory `path`; None if there is none, or it is spoilt."""
        key = _key(path)
        at = bisect_left(self._keys, (key, 0))
        while at < len(self._keys) and self._keys[at][0] == key:
            record = self._read(self._keys[at][1])
            if record is not None and record.path == path:
                return record
            at += 1
        return None

    def _read(self, offset: int) -> Record | None:
        try:
            checksum, *sizes = _RECORD.unpack_from(self._data, offset)
        except struct.error:
            return None
        body = self._data[offset + 16 : offset + _RECORD.size + sum(sizes)]
        if blake3(body).digest(length=16) != checksum:
            return None
        parts, at = [], _RECORD.size - 16
        for size in sizes:
            parts.append(body[at : at + size])
            at += size
        path, entries, files, directories = parts
        half = entry_size(self._family)
        try:
            source = unpack_entry(self._family, entries[:half])
            meta = unpack_entry(self._family, entries[half:])
        except BadTree:
            return None
        if source is None or meta is None:
            return None
        return Record(path, source, meta, files, directories)


def recall(file: str, family: Family, root: Score, dsize: int) -> Memory | None:
    """Return what was remembered with `root`; None if that is lost, or of another root."""
    try:
        with open(file, "rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    try:
        magic, size, score, at, count, checksum = _HEADER.unpack_from(data)
    except struct.error:
        return None
    if (magic, size, score) != (MAGIC, dsize, root.ljust(32, b"\0")):
        return None
    index = data[at : at + count * _INDEX.size]
    if len(index) != count * _INDEX.size or blake3(index).digest(length=16) != checksum:
        return None
    return Memory(data, family, index)


class Notes:
    """Records being written for the next run; without `keep` nothing remains of them."""

    def __init__(self, file: str, family: Family) -> None:
        self._file = file
        self._family = family
        folder = os.path.dirname(file)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor, self._temporary = tempfile.mkstemp(prefix=".vac-", dir=folder)
        self._stream: BinaryIO = os.fdopen(descriptor, "wb", buffering=1 << 18)
        self._stream.write(bytes(_HEADER.size))
        self._offset = _HEADER.size
        self._index = bytearray()
        self._count = 0

    def add(self, record: Record) -> None:
        """Remember one directory."""
        entries = pack_entry(self._family, record.source) + pack_entry(self._family, record.meta)
        parts = (record.path, entries, record.files, record.directories)
        head = _RECORD.pack(bytes(16), *map(len, parts))[16:]
        body = head + b"".join(parts)
        self._index += _INDEX.pack(_key(record.path), self._offset)
        self._count += 1
        self._stream.write(blake3(body).digest(length=16))
        self._stream.write(body)
        self._offset += 16 + len(body)

    def keep(self, root: Score, dsize: int) -> None:
        """Make these the records of the archive `root`, instead of what was remembered before."""
        self._stream.write(self._index)
        checksum = blake3(self._index).digest(length=16)
        header = _HEADER.pack(
            MAGIC, dsize, root.ljust(32, b"\0"), self._offset, self._count, checksum
        )
        self._stream.seek(0)
        self._stream.write(header)
        self._stream.close()
        os.replace(self._temporary, self._file)

    def drop(self) -> None:
        """Forget them; harmless after `keep`."""
        self._stream.close()
        with suppress(FileNotFoundError):
            os.unlink(self._temporary)
