r"""Who may enter which environment of this node, by key: one file for each environment.

    environment=ID as=ALIAS
        user=NAME key=KEY
        user=NAME key=KEY

The first user owns it. Without such a file nobody gets in.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from lib9.keys import BadKey, channel_key, parse_key
from lib9.places import private_directory
from ndbdb.record import Record
from spawngrid import files
from spawngrid.request.ids import is_id


@dataclass(frozen=True, slots=True)
class Admission:
    """The users of one environment with the texts of their keys, its owner first."""

    environment: str
    alias: str
    users: tuple[tuple[str, str], ...]

    def user(self, remote_static: bytes) -> str | None:
        """Return the user who holds this X25519 key, None if that is nobody who may enter."""
        for name, key in self.users:
            try:
                if channel_key(parse_key(key)) == remote_static:
                    return name
            except BadKey:
                continue
        return None


class Admitted:
    """The admissions of a node."""

    def __init__(self, folder: str) -> None:
        self.folder = private_directory(folder)

    def keep(self, admission: Admission) -> None:
        """Let these users in; on stable storage at return."""
        head = [("environment", admission.environment), ("as", admission.alias)]
        rows = [[("user", name), ("key", key)] for name, key in admission.users]
        files.replace(self._path(admission.environment), files.record_of(head, *rows))

    def change(self, environment: str, users: tuple[tuple[str, str], ...]) -> bool:
        """Let these in and nobody else; False if there is no such environment."""
        admission = self.find(environment)
        if admission is None:
            return False
        if users != admission.users:
            self.keep(Admission(environment, admission.alias, users))
        return True

    def find(self, environment: str) -> Admission | None:
        """Return who may enter, None if nobody is known to."""
        record = files.read_record(self._path(environment)) if is_id(environment) else None
        return _admission(record) if record is not None else None

    def remove(self, environment: str) -> None:
        files.remove(self._path(environment))

    def all(self) -> Iterator[Admission]:
        """Give every admission."""
        for name in files.names_in(self.folder):
            if (admission := self.find(name)) is not None:
                yield admission

    def user(self, remote_static: bytes) -> str | None:
        """Return the name of whoever holds this key and may enter anything here."""
        for admission in self.all():
            if (user := admission.user(remote_static)) is not None:
                return user
        return None

    def _path(self, environment: str) -> str:
        return os.path.join(self.folder, environment)


def _admission(record: Record) -> Admission | None:
    environment, alias = record.get("environment"), record.get("as")
    if environment is None or alias is None:
        return None
    users = []
    for line in record.lines[1:]:
        pairs = {pair.attr: pair.value for pair in line.pairs}
        if "user" in pairs and "key" in pairs:
            users.append((pairs["user"], pairs["key"]))
    return Admission(environment, alias, tuple(users))
