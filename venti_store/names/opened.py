"""The book of a store with the trust and the key of the user who runs this."""

from __future__ import annotations

from venti_store import known
from venti_store.names import trusted
from venti_store.names.book import Book
from venti_store.names.folder import DiskFolder
from venti_store.names.interfaces import NameStore
from venti_store.names.signing import Trust


def open_book(store: NameStore, path: str) -> Book:
    """Return the book of an open store whose directory is `path`.

    Raises BadKey for a key file or a record of a peer that is not sound.
    """
    stamp = trusted.stamp()  # before reading: what changes meanwhile is read again
    identity = known.identity() if trusted.has_key() else None
    trust = Trust.of_peers(known.peers(), identity.public if identity else None)
    return Book(store, DiskFolder(path), trust, identity=identity, stamp=stamp)
