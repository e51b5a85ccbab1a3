"""A database as it lies on disk: its first file, the files that one lists, reloaded on change.

The first record of the first file with `database=` (no value) lists the others as `file=` values,
in search order; relative names are relative to the first file's folder. The first file is searched
first, or at its own place behind the files listed before it. Files that are missing are skipped and
found when they appear.
"""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from ndbdb import query
from ndbdb.errors import DatabaseTooLarge, NoSuchDatabase
from ndbdb.parser import parse
from ndbdb.record import Record
from ndbdb.seek import DEFAULT_FILE, FILE_BYTES_MAX

_PIPE_BYTES = 64 << 10
_SETTLED_NS = 2_000_000_000
"""A file that changed this shortly before it was read may change again under the same times."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    signature: tuple[int, ...]
    settled: bool  # whether no change can have gone unseen while the signature is this one
    text: query.Text


class Database:
    """The records of a file and of all files it lists."""

    def __init__(self, file: str = DEFAULT_FILE) -> None:
        """Read everything; NoSuchDatabase if `file` is missing, OSError if one cannot be read."""
        self.file = file
        self._loaded: dict[str, _Loaded] = {}
        self._first()

    def texts(self) -> list[query.Text]:
        """Return the files in search order, read again where they changed since the last call."""
        return [text for name in self.files() if (text := self._load(name)) is not None]

    def files(self) -> list[str]:
        """Return the paths of all files in search order, missing ones too."""
        names = listed_files(self._first())
        return names if self.file in names else [self.file, *names]

    def search(self, attr: str, value: str) -> Iterator[query.Match]:
        """Yield every record that has attr=value."""
        return query.search(self.texts(), attr, value)

    def value(self, attr: str, value: str, wanted: str) -> str | None:
        """Return the value of `wanted` in the first record with attr=value that has one."""
        found = query.lookup(self.search(attr, value), wanted)
        return found[1] if found else None

    def records(self) -> Iterator[Record]:
        """Yield every record of every file."""
        for text in self.texts():
            yield from parse(text.text, text.file)

    def _first(self) -> query.Text:
        first = self._load(self.file)
        if first is None:
            raise NoSuchDatabase(f"{self.file}: no such file")
        return first

    def _load(self, name: str) -> query.Text | None:
        loaded = self._loaded.get(name)
        if loaded is None or not loaded.settled or loaded.signature != _signature(name):
            loaded = _read(name)
            if loaded is None:
                self._loaded.pop(name, None)
                return None
            self._loaded[name] = loaded
        return loaded.text


def listed_files(first: query.Text) -> list[str]:
    """Return the paths that the `database=` record of the first file lists, each once, in order."""
    match = next(islice(query.search([first], "database", ""), 1), None)
    if match is None:
        return []
    folder = os.path.dirname(first.file)
    names = (
        first.file if name == first.file else os.path.join(folder, name)
        for name in match.record.all("file")
    )
    return list(dict.fromkeys(names))


def whole_lines(data: bytes) -> str:
    """Return the text of a file up to its last newline: what follows is not, or not yet, a line."""
    return data[: data.rfind(b"\n") + 1].decode(errors="surrogateescape")


def read_file(name: str) -> bytes:
    """Return the bytes of one file; DatabaseTooLarge, or OSError."""
    with open(name, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > FILE_BYTES_MAX:
            raise DatabaseTooLarge(f"{name}: over {FILE_BYTES_MAX >> 20} MiB")
        parts = []
        size = 0
        # the whole file in the first read: room for the largest one would have to be cleared each time
        while part := file.read(max(os.fstat(file.fileno()).st_size - size, _PIPE_BYTES)):
            parts.append(part)
            size += len(part)
            if size > FILE_BYTES_MAX:
                raise DatabaseTooLarge(f"{name}: over {FILE_BYTES_MAX >> 20} MiB")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read(name: str) -> _Loaded | None:
    try:
        status = os.stat(name)  # before reading: what changes meanwhile is read again
        data = read_file(name)
    except FileNotFoundError:
        return None
    once = not stat.S_ISREG(status.st_mode)  # a pipe can be read once
    settled = once or time.time_ns() - status.st_ctime_ns >= _SETTLED_NS
    return _Loaded(_signature_of(status), settled, query.Text(name, whole_lines(data)))


def _signature(name: str) -> tuple[int, ...] | None:
    try:
        return _signature_of(os.stat(name))
    except FileNotFoundError:
        return None


def _signature_of(status: os.stat_result) -> tuple[int, ...]:
    if not stat.S_ISREG(status.st_mode):
        return (status.st_dev, status.st_ino)
    # the time of the last change to anything: the other one can be set back
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
