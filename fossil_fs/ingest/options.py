"""What a user may choose for an archiving run."""

from dataclasses import dataclass, field
from typing import Final

from fossil_fs.ingest.exclude import Exclude
from fossil_fs.record import is_native
from lib9.errors import UsageError
from lib9.sizes import format_size
from venti_store.hashtree.layout import pack_big
from venti_store.score import Family

DSIZE: Final = 64 << 10  # native
DSIZE_CLASSIC: Final = 8 << 10
DSIZE_MIN: Final = 512
DSIZE_MAX: Final = 1 << 20
DSIZE_MAX_CLASSIC: Final = 56 << 10
READERS: Final = 2


@dataclass(frozen=True, slots=True)
class Options:
    """`dsize` is the size of data blocks; `readers` is how many threads or processes read files.

    With 0 readers the one that scans does. `skip` are directories, by device and inode, that are
    left out without a word: the store itself.
    """

    dsize: int = DSIZE
    readers: int = READERS
    exclude: Exclude = field(default_factory=lambda: Exclude(()))
    one_file_system: bool = False
    skip: frozenset[tuple[int, int]] = frozenset()


def default_dsize(family: Family) -> int:
    """Return the size of data blocks where the user did not choose one."""
    return DSIZE if is_native(family) else DSIZE_CLASSIC


def check_dsize(dsize: int, family: Family) -> int:
    """Return `dsize` if trees of this family may have such data blocks; else UsageError."""
    limit = DSIZE_MAX if is_native(family) else DSIZE_MAX_CLASSIC
    if not DSIZE_MIN <= dsize <= limit:
        raise UsageError(f"blocks of {dsize} bytes: from {DSIZE_MIN} to {format_size(limit)}")
    try:
        pack_big(dsize)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return dsize
