"""Append whole records to a file that others read and append to, whatever happens in between.

A record is first written as one line, newline last: cut anywhere, it is a line without an end, which
ndb(6) does not read. Only then are the blanks between its lines turned into newlines, which changes
none of its pairs. A torn line left by a killed program is made a comment before anything follows it,
so it is neither taken for a record nor lost.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress

from ndbdb.errors import DatabaseBusy, NotADatabase
from ndbdb.parser import unparse
from ndbdb.record import Record

LOCK_SECONDS_MAX = 10.0
"""How long to wait for others; an append takes milliseconds."""
TORN_BYTES_MAX = 1 << 20
"""Longest end without a newline that is repaired; more is no torn record but another sort of file."""
_POLL_SECONDS = 0.01

log = logging.getLogger(__name__)


def append(
    file: str,
    records: Iterable[Record],
    *,
    mode: int = 0o644,
    lock_seconds: float = LOCK_SECONDS_MAX,
) -> None:
    """Append records to `file`, made with `mode` if it is not there.

    On return they are on stable storage. Readers, and whoever comes after a crash, see a prefix of
    them, each whole. Raises Unprintable before anything is written, DatabaseBusy, or OSError; after
    ENOSPC the file is as it was.
    """
    texts = [unparse(record).encode(errors="surrogateescape") for record in records]
    if not texts:
        return
    descriptor = _locked(file, mode, lock_seconds)
    try:
        _end_torn_line(descriptor, file)
        _write_records(descriptor, b"".join(texts), b"".join(map(_one_line, texts)))
    finally:
        os.close(descriptor)


def _one_line(text: bytes) -> bytes:
    return text[:-1].replace(b"\n", b" ") + b"\n"


def _write_records(descriptor: int, text: bytes, joined: bytes) -> None:
    start = os.fstat(descriptor).st_size
    try:
        _write_at(descriptor, joined, start)
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, start)
        raise
    if text != joined:
        _write_at(descriptor, text, start)
        os.fsync(descriptor)


def _end_torn_line(descriptor: int, file: str) -> None:
    size = os.fstat(descriptor).st_size
    start = max(0, size - TORN_BYTES_MAX)
    tail = os.pread(descriptor, size - start, start)
    torn = tail[tail.rfind(b"\n") + 1 :]
    if not torn:
        return
    if len(torn) == TORN_BYTES_MAX:
        raise NotADatabase(f"{file}: no newline in the last {TORN_BYTES_MAX >> 20} MiB")
    log.warning("%s: the last line had no newline and was no record: now a comment", file)
    if not torn.startswith(b"#"):
        # until the newline below it stays what it was for every reader: nothing
        _write_at(descriptor, b"#" + torn, size - len(torn))
        os.fsync(descriptor)
        size += 1
    _write_at(descriptor, b"\n", size)


def _write_at(descriptor: int, data: bytes, position: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, position)
        data, position = data[written:], position + written


def _locked(file: str, mode: int, lock_seconds: float) -> int:
    """Open `file`, lock it, and make sure that it is still the one of that name."""
    deadline = time.monotonic() + lock_seconds
    while True:
        descriptor = _open(file, mode)
        try:
            if _try_lock(descriptor) and _is_still(descriptor, file):
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= deadline:
            raise DatabaseBusy(f"{file}: locked by another program")
        time.sleep(_POLL_SECONDS)


def _open(file: str, mode: int) -> int:
    try:
        return os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    folder = os.open(os.path.dirname(file) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(descriptor: int, file: str) -> bool:
    try:
        named = os.stat(file)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)
