"""One question to a file on disk: neither read into memory as a whole, nor made text of.

The file passes through a buffer that stays in the processor's cache, cut between records; text is
made only of those parts in which the value stands. For what needs more, a database of several files
above all, the answer is None: ask `ndbdb.database`.
"""

from __future__ import annotations

import os
import stat

from ndbdb.grammar import Words, records
from ndbdb.slices import candidates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT_FILE = "/lib/ndb/local"
CHUNK_BYTES = 256 << 10  # a quarter of the cache nearest to most processors' memory
FILE_BYTES_MAX = 256 << 20
"""What is read of one file; millions of records, far from a mistake like a disk image."""

Lines = list[list[Words]]

_LISTS_FILES = b"database"
_BEHIND_ATTR = b"= \t\r\n"


def seek(
    file: str, attr: str, value: str, enough: Callable[[Lines], bool] = lambda _: False
) -> list[Lines] | None:
    """Return the lines of every record of `file` that has attr=value, in order; None: see above.

    The one that is `enough` is the last. Raises nothing: what cannot be read is for the database to say.
    """
    if not value or "\n" in value:
        return None
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > FILE_BYTES_MAX:
            return None
        return _seek(descriptor, (attr, value), enough)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _seek(descriptor: int, pair: Words, enough: Callable[[Lines], bool]) -> list[Lines] | None:
    needle = pair[1].encode(errors="surrogateescape")
    found: list[Lines] = []
    done, size = False, 0
    for chunk, end in chunks(descriptor):
        size += end
        if _may_list_files(chunk, end) or size > FILE_BYTES_MAX:
            return None
        if done or chunk.rfind(needle, 0, end) < 0:
            continue
        for lines in _records_with(chunk[:end].decode(errors="surrogateescape"), pair):
            found.append(lines)
            if enough(lines):
                done = True
                break
    return found


def _records_with(text: str, pair: Words) -> Iterator[Lines]:
    for start, end in candidates(text, *pair):
        for numbered in records(text[start:end]):
            lines = [line for _, line in numbered]
            if any(pair in line for line in lines):
                yield lines


def chunks(descriptor: int, chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[bytearray, int]]:
    """Yield a file in parts that end with a record, and how many bytes of the buffer each has.

    What follows the last newline is left out. The buffer is used again, and grows to hold any record.
    """
    buffer = bytearray(chunk_bytes)
    filled = 0
    while True:
        if filled == len(buffer):
            buffer += bytes(len(buffer))
        with memoryview(buffer) as view:
            count = os.readv(descriptor, [view[filled:]])
        filled += count
        end = _last_end(buffer, filled) if count else buffer.rfind(b"\n", 0, filled) + 1
        if end:
            yield buffer, end
            buffer[: filled - end] = buffer[end:filled]
            filled -= end
        if not count:
            return


def _last_end(buffer: bytearray, filled: int) -> int:
    """Return where the last record that is known to be whole ends, 0 if there is none."""
    # the byte behind the newline says whether the record goes on: it must be there
    at = buffer.rfind(b"\n", 0, filled - 1)
    while at >= 0 and buffer[at + 1] in b" \t\r#":
        at = buffer.rfind(b"\n", 0, at)
    return at + 1


def _may_list_files(chunk: bytearray, end: int) -> bool:
    """Tell whether a record here may have `database=` (no value), which lists other files."""
    at = chunk.rfind(_LISTS_FILES, 0, end)
    while at >= 0:
        if chunk[at + len(_LISTS_FILES)] in _BEHIND_ATTR:
            return True
        at = chunk.rfind(_LISTS_FILES, 0, at)
    return False
