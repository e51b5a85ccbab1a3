"""What a user may choose for an archiving run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fossil_fs.ingest.exclude import Exclude
from fossil_fs.ingest.report import Report

DSIZE: Final = 64 << 10  # native
DSIZE_CLASSIC: Final = 8 << 10
DSIZE_MIN: Final = 512
DSIZE_MAX: Final = 1 << 20
DSIZE_MAX_CLASSIC: Final = 56 << 10
READERS: Final = 2


def _silent(_report: Report) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Options:
    """`dsize` is the size of data blocks; `readers` is how many threads or processes
    read files; 0: the one that scans does.

    `on_progress` is called once for a directory.
    """

    dsize: int = DSIZE
    readers: int = READERS
    exclude: Exclude = field(default_factory=lambda: Exclude(()))
    one_file_system: bool = False
    on_progress: Callable[[Report], None] = _silent
