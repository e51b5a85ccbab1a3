"""What a long run says while it goes on, on a terminal only, and when it is done."""

import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Self

from fossil_fs.format.names import show_name
from lib9.sizes import format_count, format_size
from lib9.telling import printable

if TYPE_CHECKING:
    from fossil_fs.ingest.archive import Outcome
    from fossil_fs.ingest.report import Report
    from venti_store.stores.lmdb.append import Counts

_EVERY_SECONDS: Final = 0.2
_CLEAR: Final = "\r\x1b[K"


def complain_of(program: str) -> Callable[[bytes, str], None]:
    """Return what prints a path and what is wrong with it as one line on stderr."""

    def complain(path: bytes, why: str) -> None:
        sys.stderr.write(f"{program}: {printable(show_name(path))}: {printable(why)}\n")

    return complain


class Progress:
    """Shows the counts of a report as they grow, if stderr is a terminal and `shown`."""

    def __init__(self, report: "Report", *, shown: bool) -> None:
        self._report = report
        self._shown = shown and sys.stderr.isatty()
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self._shown:
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._shown:
            self._end.set()
            self._thread.join()
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()

    def around(self, complain: Callable[[bytes, str], None]) -> Callable[[bytes, str], None]:
        """Return `complain` such that its line does not end up behind the counts."""
        if not self._shown:
            return complain

        def alone(path: bytes, why: str) -> None:
            with self._lock:
                sys.stderr.write(_CLEAR)
                complain(path, why)

        return alone

    def _run(self) -> None:
        while not self._end.wait(_EVERY_SECONDS):
            with self._lock:
                sys.stderr.write(_CLEAR + self._line())
                sys.stderr.flush()

    def _line(self) -> str:
        report = self._report
        counts = f"{format_count(report.files, 'file')}, {format_size(report.size)}"
        room = os.get_terminal_size(2).columns - len(counts) - 3
        path = printable(show_name(report.current))
        if len(path) > room:
            path = "…" + path[len(path) - room + 1 :] if room > 1 else ""
        return f"{counts}  {path}"


def summary(report: "Report", outcome: "Outcome", new: "Counts | None", seconds: float) -> str:
    """Return one line on an archiving run; `new` is what the store's counts grew by, if known."""
    directories = format_count(report.directories, "directory", "directories")
    parts = [f"{format_count(report.files, 'file')} in {directories}", format_size(report.size)]
    if report.files_reused:
        parts.append(f"{format_count(report.files_reused, 'file')} unchanged")
    if outcome.unchanged:
        parts.append("nothing changed")
    elif new is not None:
        known = max(outcome.fed.size - new.size, 0)
        parts.append(f"{format_size(new.size)} new ({format_size(new.stored)} compressed)")
        parts.append(f"{format_size(known)} deduplicated")
    parts.append(f"{seconds:.1f} s")
    return ", ".join(parts)
