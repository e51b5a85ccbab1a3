"""Names of roots on this machine, kept in an ndb file that anyone may read and add to.

A record says that a name meant a score from a time on: `scorename=NAME rootscore=vac:HEX
time=2026-01-31T23:59:59Z`. Records are only ever appended: `NAME` means the newest, `NAME~1` the
one before it. The file can be lost without losing data; the roots are in the store.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from lib9.errors import Exit, SpawngridError, UsageError
from lib9.places import data_directory
from ndbdb.database import Database
from ndbdb.errors import NoSuchDatabase
from ndbdb.parser import parse
from ndbdb.record import Pair, Record
from ndbdb.scan import records_with
from venti_store.errors import BadScore
from venti_store.score import Score, format_score, parse_score

NAME_BYTES_MAX: Final = 200  # leaves room for endings in file names made from it
PREFIX_DIGITS_MIN: Final = 6  # of a score that is abbreviated

_NAME = re.compile(r"[^\s/~=\"'#:\0-\x1f\x7f-][^\s/~=\"'#:\0-\x1f\x7f]*")
_REFERENCE = re.compile(r"(.+?)(?:~(\d{1,9}))?", re.DOTALL)
_DIGITS = re.compile(rf"(?:vac:)?([0-9a-fA-F]{{{PREFIX_DIGITS_MIN},}})", re.ASCII)


class BadName(UsageError):
    """A name that a root cannot have."""


class NoSuchName(SpawngridError):
    """Nothing here is called that."""

    exit_code: ClassVar[Exit] = Exit.NOT_FOUND


class AmbiguousScore(SpawngridError):
    """The first digits of more than one known score."""

    exit_code: ClassVar[Exit] = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Named:
    """What a name meant from `time` (seconds since 1970) on."""

    name: str
    score: Score
    time: int


def check_name(name: str) -> str:
    """Return `name` if a root may be called so; BadName for what could mean something else."""
    if len(os.fsencode(name)) > NAME_BYTES_MAX:
        raise BadName(f"{name[:40]}…: a name has at most {NAME_BYTES_MAX} bytes")
    if not _NAME.fullmatch(name) or name in (".", "..") or not name.isprintable():
        raise BadName(
            f"{name!r} cannot be a name: white space, quotes and any of / ~ = # : are not allowed,"
            " nor - in front"
        )
    try:
        parse_score(name)
    except BadScore:
        return name
    raise BadName(f"{name} cannot be a name: it looks like a score")


def names_file(environ: Mapping[str, str]) -> str:
    """Return where a user's names are: `$XDG_DATA_HOME/spawngrid/names`."""
    return os.path.join(data_directory(environ), "spawngrid", "names")


class Names:
    """The names in one ndb file; a missing file holds none. Reads see what others appended."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._database: Database | None = None

    def record(self, name: str, score: Score, time: int) -> None:
        """Let `name` mean `score` from `time` on; on stable storage when this returns."""
        from datetime import UTC, datetime

        from ndbdb.append import append

        check_name(name)
        os.makedirs(os.path.dirname(self.file) or ".", mode=0o700, exist_ok=True)
        stamp = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        record = Record.of(("scorename", name), ("rootscore", format_score(score)), ("time", stamp))
        append(self.file, [record])

    def history(self, name: str) -> list[Named]:
        """Return everything `name` has meant, newest first; empty for an unknown name."""
        pair = Pair("scorename", name)
        found = [_named(r) for text in self._texts() for r in records_with(text, pair, self.file)]
        return [named for named in reversed(found) if named is not None]

    def newest(self, name: str) -> Named | None:
        """Return what `name` means now."""
        history = self.history(name)
        return history[0] if history else None

    def all(self) -> list[Named]:
        """Return every record that makes sense, oldest first."""
        found = [_named(r) for text in self._texts() for r in parse(text, self.file)]
        return [named for named in found if named is not None]

    def resolve(self, text: str) -> Score:
        """Return the score that `text` means: a score, NAME, NAME~N, or a known score's first digits.

        NoSuchName when nothing fits, AmbiguousScore when digits fit several, BadScore for what
        begins like a score and is none.
        """
        try:
            return parse_score(text)
        except BadScore:
            if text.startswith("vac:") and not _DIGITS.fullmatch(text):
                raise
        match = _REFERENCE.fullmatch(text)
        name, back = (match[1], int(match[2] or 0)) if match else (text, 0)
        history = self.history(name)
        if history:
            if back >= len(history):
                raise NoSuchName(f"{text}: {name} has only {len(history)} in its history")
            return history[back].score
        if digits := _DIGITS.fullmatch(text):
            return self._abbreviated(text, digits[1].lower())
        raise NoSuchName(f"{text}: no such name, and not a score (see {self.file})")

    def _abbreviated(self, text: str, digits: str) -> Score:
        fitting = {n.score: n.name for n in self.all() if n.score.hex().startswith(digits)}
        if not fitting:
            raise NoSuchName(f"{text}: no name, and no known score begins so")
        if len(fitting) > 1:
            listed = ", ".join(f"{s.hex()[: len(digits) + 6]}… ({n})" for s, n in fitting.items())
            raise AmbiguousScore(f"{text}: ambiguous: {listed}")
        return next(iter(fitting))

    def _texts(self) -> list[str]:
        try:
            if self._database is None:
                self._database = Database(self.file)
            return [text.text for text in self._database.texts()]
        except NoSuchDatabase:
            return []


def _named(record: Record) -> Named | None:
    """Return what a record says; None for one that is of another sort or spoilt."""
    name, score, time = (record.get(attr) for attr in ("scorename", "rootscore", "time"))
    if name is None or score is None:
        return None
    from datetime import datetime  # most commands are given a score

    try:
        stamp = int(datetime.fromisoformat(time).timestamp()) if time else 0
        return Named(name, parse_score(score), stamp)
    except (BadScore, ValueError):
        return None
