"""Names of roots in one user's own file, an ndb file that anyone may read and its user may add to.

For who has no key, and for stores far away: `scorename=NAME rootscore=vac:HEX
time=2026-01-31T23:59:59Z`. Records are only ever appended, and the last of a name is the newest. The
file can be lost without losing data; the roots are in their stores.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime

from lib9.places import data_directory
from ndbdb.append import append
from ndbdb.database import Database
from ndbdb.errors import NoSuchDatabase
from ndbdb.parser import parse
from ndbdb.record import Pair, Record
from ndbdb.scan import records_with
from venti_store.errors import BadScore
from venti_store.names.view import Named
from venti_store.names.words import check_name
from venti_store.score import Score, format_score, parse_score

MICROSECONDS = 1_000_000


def names_file(environ: Mapping[str, str]) -> str:
    """Return where a user's names are: `$XDG_DATA_HOME/spawngrid/names`."""
    return os.path.join(data_directory(environ), "spawngrid", "names")


class LocalNames:
    """The names in one ndb file; a missing file holds none. Reads see what others appended."""

    def __init__(self, file: str, user: str) -> None:
        self.file = file
        self.user = user
        self._database: Database | None = None

    def record(self, name: str, score: Score, now_us: int) -> Named:
        """Let `name` mean `score` from now on; on stable storage when this returns."""
        check_name(name)
        os.makedirs(os.path.dirname(self.file) or ".", mode=0o700, exist_ok=True)
        moment = datetime.fromtimestamp(now_us // MICROSECONDS, UTC)
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        record = Record.of(("scorename", name), ("rootscore", format_score(score)), ("time", stamp))
        append(self.file, [record])
        return Named(name, "", score, self.user, now_us)

    def names(self, word: str | None = None) -> list[Named]:
        """Return what the file says, all or of one name, oldest first.

        Records that make no sense are passed over. Times rise with the order in the file, whatever
        it says.
        """
        found: list[Named] = []
        for text in self._texts():
            records = (
                parse(text, self.file)
                if word is None
                else records_with(text, Pair("scorename", word), self.file)
            )
            for record in records:
                named = self._named(record, found[-1].time + 1 if found else 0)
                if named is not None:
                    found.append(named)
        return found

    def _named(self, record: Record, time_min: int) -> Named | None:
        name, score, time = (record.get(attr) for attr in ("scorename", "rootscore", "time"))
        if name is None or score is None:
            return None
        try:
            moment = int(datetime.fromisoformat(time).timestamp() * MICROSECONDS) if time else 0
            return Named(name, "", parse_score(score), self.user, max(moment, time_min))
        except (BadScore, ValueError):
            return None

    def _texts(self) -> list[str]:
        try:
            if self._database is None:
                self._database = Database(self.file)
            return [text.text for text in self._database.texts()]
        except NoSuchDatabase:
            return []
