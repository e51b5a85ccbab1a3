"""What an archiving run has done so far, and what it could not do."""

from collections.abc import Callable
from dataclasses import dataclass


def _silent(_path: bytes, _why: str) -> None:
    pass


@dataclass(slots=True)
class Report:
    """Counts of a run. `on_trouble` is told each file that is missing or torn in the archive."""

    files: int = 0  # everything that is not a directory
    directories: int = 0
    size: int = 0  # bytes of files, read or known from the last run
    files_reused: int = 0  # known from the last run, not opened
    directories_reused: int = 0
    troubles: int = 0
    current: bytes = b""  # the directory that was entered last
    on_trouble: Callable[[bytes, str], None] = _silent

    def trouble(self, path: bytes, why: str) -> None:
        """Count and tell one file that is not, or not as one state, in the archive."""
        self.troubles += 1
        self.on_trouble(path, why)


def why(error: Exception) -> str:
    """Return the reason that an error gives, without the name that it may hold."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
