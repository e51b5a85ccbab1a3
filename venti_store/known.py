"""Who we are and whom we know: the key file and the ndb file of peers of this user or node."""

from __future__ import annotations

import os

from lib9 import keys, places
from lib9.keys import BadKey, Identity, Peers
from ndbdb.database import Database
from ndbdb.parser import parse
from ndbdb.query import Text


def identity(path: str | None = None) -> Identity:
    """Return our identity; BadKey says how to make one if there is none."""
    file = path or places.config_file("key")
    try:
        return keys.load(file)
    except FileNotFoundError:
        raise BadKey(f"{file}: no key there (make one with: grid key new)") from None


class KnownPeers:
    """Who is known, as the file is now; parsed only when it or a file that it lists has changed.

    For those who ask at each handshake: a change counts at the next one.
    """

    def __init__(self, path: str | None = None) -> None:
        self._file = path or places.config_file("ndb")
        self._database: Database | None = None
        self._texts: list[Text] = []
        self._peers = Peers()

    def __call__(self) -> Peers:
        """Return everybody who is known; nobody if there is no such file.

        BadKey if a record makes no sense, and what reading and parsing raise.
        """
        texts = self._read()
        if texts != self._texts:
            records = [record for text in texts for record in parse(text.text, text.file)]
            self._peers = Peers.of_records([(p.attr, p.value) for p in r.pairs()] for r in records)
            self._texts = texts
        return self._peers

    def _read(self) -> list[Text]:
        if not os.path.exists(self._file):
            return []
        if self._database is None:
            self._database = Database(self._file)
        return self._database.texts()


def peers(path: str | None = None) -> Peers:
    """Return everybody who is known now, for those who ask once; as KnownPeers does."""
    return KnownPeers(path)()
