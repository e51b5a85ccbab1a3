"""server.info files: one for each peer, appended to, the last line counts.

A line that a kill or a power cut left without its newline is read by nobody. A file that has become
long is written anew. Losing it costs only questions: the next run asks what is there already.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import Final, Self

from lib9.errors import SpawngridError
from ndbdb.database import read_file, whole_lines
from ndbdb.parser import pair_text, parse
from ndbdb.record import Pair
from replicator.positions import Direction, Info, Saved, line_of, read_info

BYTES_MAX: Final = 64 << 10  # then it is written anew, with the last position of each store


class InfoBusy(SpawngridError):
    """Another program follows by this server.info file now."""


class InfoFile:
    """A server.info file, held by one program at a time."""

    def __init__(self, path: str, descriptor: int, info: Info) -> None:
        self.path, self.info = path, info
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: str) -> Self:
        """Open the file, made if it is missing. InfoBusy, or OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            data = read_file(path)
        except BlockingIOError:
            os.close(descriptor)
            raise InfoBusy(f"{path}: in use by another program") from None
        except BaseException:
            os.close(descriptor)
            raise
        if data and not data.endswith(b"\n"):
            os.write(
                descriptor, b"\n" if data.rpartition(b"\n")[2].startswith(b"#") else b" torn=\n"
            )
        return cls(path, descriptor, read_info(parse(whole_lines(data), path)))

    def close(self) -> None:
        os.close(self._descriptor)

    def set_peer(self, address: str) -> None:
        """Write down the peer's address, unless it is there."""
        if self.info.venti != address:
            self.info.venti = address
            self._append(pair_text(Pair("venti", address)) + "\n")

    def load(self, direction: Direction, store_id: str, into: str) -> Saved | None:
        return self.info.positions.get((direction, store_id, into))

    def save(self, saved: Saved) -> None:
        """Append a position, with the date before it. Is there after a kill, not after a power cut."""
        key = (saved.direction, saved.position.store_id, saved.into.store_id)
        self.info.positions[key] = saved
        if os.fstat(self._descriptor).st_size > BYTES_MAX:
            self._write_anew()
        else:
            self._append(f"# {_date()}\n{line_of(saved)}")

    def _append(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def _write_anew(self) -> None:
        lines = [pair_text(Pair("venti", self.info.venti)) + "\n"] if self.info.venti else []
        lines += [pair_text(Pair("root", root)) + "\n" for root in self.info.roots]
        lines.append(f"# {_date()}\n")
        lines += [line_of(saved) for saved in self.info.positions.values()]
        fresh = f"{self.path}.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, "".join(lines).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        held = os.open(fresh, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before anybody else can find it
        os.rename(fresh, self.path)
        os.close(self._descriptor)
        self._descriptor = held


def _date() -> str:
    return time.strftime("%a %b %d %H:%M:%S GMT %Y", time.gmtime())
