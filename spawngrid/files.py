"""Small files that are whole or not there: written beside, synced, renamed."""

import os
from collections.abc import Iterable
from contextlib import suppress

from lib9.faults import fault
from ndbdb.parser import parse, unparse
from ndbdb.record import Line, Pair, Record

RECORD_SIZE_MAX = 1 << 20  # bytes of a file that holds one record


def replace(path: str, data: bytes, *, mode: int = 0o600) -> None:
    """Let `path` hold `data`; on stable storage at return, and never half of it."""
    folder, name = os.path.split(path)
    fresh = os.path.join(folder, f".{name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fault("files.written")
    os.rename(fresh, path)
    sync_folder(folder)


def remove(path: str) -> None:
    """Remove a file, for good at return; nothing if it is not there."""
    with suppress(FileNotFoundError):
        os.unlink(path)
        sync_folder(os.path.dirname(path))


def move(path: str, new: str) -> None:
    """Move a file between folders of one disk, for good at return."""
    os.rename(path, new)
    sync_folder(os.path.dirname(path))
    sync_folder(os.path.dirname(new))


def sync_folder(folder: str) -> None:
    """Bring the names in a folder to stable storage."""
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_record(path: str) -> Record | None:
    """Return the record that a file holds, None if there is no such file or no record in it."""
    try:
        with open(path, "rb") as file:
            text = file.read(RECORD_SIZE_MAX).decode(errors="surrogateescape")
    except FileNotFoundError:
        return None
    return next(parse(text, path), None)


def record_of(*lines: Iterable[tuple[str, str]]) -> bytes:
    """Return the bytes of one record with these lines; empty ones are left out."""
    rows = [tuple(Pair(attr, value) for attr, value in line) for line in lines]
    return unparse(Record(tuple(Line(row) for row in rows if row))).encode()


def names_in(folder: str) -> list[str]:
    """Return the names of whole files in a folder, in order; none if it is not there."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except FileNotFoundError:
        return []


def clean(folder: str) -> None:
    """Remove what a killed writer left in a folder; for the one process that writes there."""
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name.startswith("."):
                os.unlink(os.path.join(folder, name))
