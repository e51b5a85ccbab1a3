"""The journal: every mutation since the last commit, so that a kill loses no acknowledged one.

A mutation is a list of `Op`s on the metadata's keys: a redo log. Replaying needs no store and no
file system code: the same `perform` that made the change makes it again. One record is one mutation
and one write(2). The header names the commit that the records stand on; records of an earlier
commit are ignored, because that commit has them already.

    file:   header, record...          header: magic 8s, generation u64, crc u32
    record: length u32, crc u32, payload       payload: (kind u8, key u16, value u32, key, value)...
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from fossil_fs.scratch.errors import ScratchDamaged
from lib9.faults import fault

MAGIC: Final = b"fsljrnl1"
_HEADER: Final = struct.Struct("<8sQI")
_RECORD: Final = struct.Struct("<II")
_OP: Final = struct.Struct("<BHI")
_OFFSET: Final = struct.Struct("<I")
RECORD_SIZE_MAX: Final = 64 << 20  # bytes; a mutation is far smaller, a longer one is no record


class OpKind(IntEnum):
    """What an `Op` does to the value of its key."""

    PUT = 1  # becomes `value`
    DELETE = 2  # goes
    PATCH = 3  # `value` is an offset and bytes that are laid over it; zeros fill a gap
    CUT = 4  # `value` is a length that it is cut to
    REPLACE = 5  # becomes `value`, for snapshots that see it too: another form of the same
    ERASE = 6  # goes, for snapshots that see it too: it is not needed for what they see


class Op(NamedTuple):
    """One change of one key."""

    kind: OpKind
    key: bytes
    value: bytes


_PUT, _DELETE, _PATCH, _CUT, _REPLACE, _ERASE = (
    OpKind  # looking a member up takes longer than what follows
)


def put(key: bytes, value: bytes) -> Op:
    return Op(_PUT, key, value)


def delete(key: bytes) -> Op:
    return Op(_DELETE, key, b"")


def replace(key: bytes, value: bytes) -> Op:
    return Op(_REPLACE, key, value)


def erase(key: bytes) -> Op:
    return Op(_ERASE, key, b"")


def patch(key: bytes, offset: int, data: bytes) -> Op:
    return Op(_PATCH, key, _OFFSET.pack(offset) + data)


def cut(key: bytes, size: int) -> Op:
    return Op(_CUT, key, _OFFSET.pack(size))


def perform(op: Op, old: bytes | None) -> bytes | None:
    """Return the value that `op` makes of `old`; None: no value."""
    if op.kind is _PUT or op.kind is _REPLACE:
        return op.value
    if op.kind is _DELETE or op.kind is _ERASE:
        return None
    old = old or b""
    (offset,) = _OFFSET.unpack_from(op.value)
    if op.kind is _CUT:
        return old[:offset]
    end = offset + len(op.value) - _OFFSET.size
    return b"".join(
        (old[:offset], bytes(max(0, offset - len(old))), op.value[_OFFSET.size :], old[end:])
    )


def pack_record(ops: Iterable[Op], generation: int) -> bytes:
    """Return one mutation as a record."""
    parts: list[bytes] = []
    for kind, key, value in ops:
        parts += (_OP.pack(kind, len(key), len(value)), key, value)
    payload = b"".join(parts)
    return _RECORD.pack(len(payload), _checksum(payload, generation)) + payload


def unpack_payload(payload: bytes) -> list[Op]:
    """Return the mutation in a record's payload, whose checksum was right."""
    ops = []
    at = 0
    while at < len(payload):
        kind, key_size, value_size = _OP.unpack_from(payload, at)
        at += _OP.size
        middle, end = at + key_size, at + key_size + value_size
        ops.append(Op(OpKind(kind), payload[at:middle], payload[middle:end]))
        at = end
    return ops


def _checksum(payload: bytes, generation: int) -> int:
    return zlib.crc32(payload, generation & 0xFFFFFFFF)


class Journal:
    """An open journal file. `size` is its length in bytes, header included."""

    def __init__(self, path: bytes) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._generation = 0
        self.size = 0

    def replay(self, generation: int) -> Iterator[list[Op]]:
        """Give the mutations made after commit `generation`, up to where the file was cut short.

        What is appended then goes behind them. ScratchDamaged when the journal stands on a commit
        that the metadata does not have.
        """
        self._generation, self.size = generation, 0
        with open(os.dup(self._fd), "rb") as file:
            file.seek(0)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return  # killed while the journal was begun: nothing was acknowledged after it
            if not any(header):
                return  # a power cut left the length of a header that was never synced
            magic, own, crc = _HEADER.unpack(header)
            if magic != MAGIC or crc != zlib.crc32(header[: _HEADER.size - 4]):
                raise ScratchDamaged("its journal is torn at the start")
            if own < generation:
                return
            if own > generation:
                raise ScratchDamaged(
                    f"its journal is of commit {own}, its metadata of {generation}"
                )
            self.size = _HEADER.size
            while len(head := file.read(_RECORD.size)) == _RECORD.size:
                size, crc = _RECORD.unpack(head)
                payload = file.read(size) if size <= RECORD_SIZE_MAX else b""
                if len(payload) != size or not size or crc != _checksum(payload, generation):
                    return
                self.size += _RECORD.size + size
                yield unpack_payload(payload)

    def begin(self, generation: int) -> None:
        """Forget all records; those that follow stand on commit `generation`."""
        os.ftruncate(self._fd, 0)
        fault("journal.cut")
        header = struct.pack("<8sQ", MAGIC, generation)
        os.pwrite(self._fd, header + struct.pack("<I", zlib.crc32(header)), 0)
        self._generation = generation
        self.size = _HEADER.size

    def go_on(self) -> None:
        """Forget what lies behind the last whole record; with none, begin."""
        if self.size:
            os.ftruncate(self._fd, self.size)
        else:
            self.begin(self._generation)

    def append(self, ops: Iterable[Op]) -> None:
        """Write one mutation: it survives a kill on return, a power cut after `sync`.

        OSError when it could not be written; then nothing of it is there.
        """
        record = pack_record(ops, self._generation)
        try:
            written = os.pwrite(self._fd, record, self.size)
            if written != len(record):
                written += os.pwrite(self._fd, record[written:], self.size + written)
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(record)
        fault("journal.appended")

    def sync(self) -> None:
        """Put all records on stable storage; may be called from a worker thread."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)
