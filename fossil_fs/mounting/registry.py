"""Which mounts run: an ndb record each in `$XDG_RUNTIME_DIR/spawngrid/mounts`, beside its console.

    mounts/ID.ndb    mount=ID mnt=PATH pid=N minor=N scratch=DIR store=ADDRESS score=vac:HEX
    mounts/ID.sock   the console
    mounts/ID.log    what the daemon had to say

A record is found by the kernel's number of the connection, so no mount is ever asked for it.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from lib9.places import private_directory
from ndbdb.parser import parse, unparse
from ndbdb.record import Record

FOLDER: Final = "mounts"


@dataclass(frozen=True, slots=True)
class Running:
    """A mount that runs, or did when its daemon was killed. `score`: the base when it was mounted."""

    id: str
    mnt: str
    pid: int
    minor: int
    scratch: str
    store: str
    score: str


class Registry:
    """The records below one run directory."""

    def __init__(self, run_directory: str) -> None:
        self.folder = os.path.join(run_directory, FOLDER)

    def path(self, mount_id: str, ending: str) -> str:
        """Return the path of a mount's record (`ndb`), console (`sock`) or log (`log`)."""
        return os.path.join(self.folder, f"{mount_id}.{ending}")

    def prepare(self) -> None:
        """Make the folder, for this user alone."""
        private_directory(os.path.dirname(self.folder))
        private_directory(self.folder)

    def add(self, running: Running) -> None:
        """Write a record; it appears whole."""
        record = Record.of(
            ("mount", running.id),
            ("mnt", running.mnt),
            ("pid", str(running.pid)),
            ("minor", str(running.minor)),
            ("scratch", running.scratch),
            ("store", running.store),
            ("score", running.score),
        )
        draft = self.path(f".{running.id}.{os.urandom(4).hex()}", "new")
        with open(draft, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(unparse(record))
        os.replace(draft, self.path(running.id, "ndb"))

    def remove(self, mount_id: str) -> None:
        for ending in ("ndb", "sock"):
            with suppress(FileNotFoundError):
                os.unlink(self.path(mount_id, ending))

    def all(self) -> list[Running]:
        """Return all records that make sense, those of killed daemons too."""
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return []
        found = [self._read(name) for name in names if name.endswith(".ndb")]
        return [running for running in found if running is not None]

    def _read(self, name: str) -> Running | None:
        path = os.path.join(self.folder, name)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                record = next(parse(file.read(), path), None)
        except FileNotFoundError:
            return None
        if record is None or record.get("mount") is None:
            return None
        try:
            numbers = int(record.need("pid")), int(record.need("minor"))
        except ValueError:
            return None
        texts = [record.get(word) or "" for word in ("mount", "mnt", "scratch", "store", "score")]
        return Running(texts[0], texts[1], *numbers, *texts[2:])

    def at(self, minor: int) -> Running | None:
        """Return the mount with this number of the kernel's, if it is one of ours and runs."""
        return next((r for r in self.all() if r.minor == minor and is_alive(r.pid)), None)

    def clean(self) -> None:
        """Remove the records of daemons that are gone."""
        for running in self.all():
            if not is_alive(running.pid):
                self.remove(running.id)


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False
