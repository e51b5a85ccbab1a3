"""Whose names count on this node: our own, and those of nodes in the ndb file with the right to."""

from __future__ import annotations

import os

from lib9 import places
from lib9.keys import Peers
from venti_store import known
from venti_store.known import KnownPeers
from venti_store.names.signing import Trust


class NodeTrust:
    """The trust that follows from our key and the ndb file, read again when either has changed."""

    def __init__(self, key_file: str | None = None, peers_file: str | None = None) -> None:
        self._key_file = key_file or places.config_file("key")
        self._peers = KnownPeers(peers_file)
        self._seen: object = None
        self._trust = Trust({})

    def __call__(self) -> Trust:
        """Return it; BadKey if a file makes no sense."""
        peers = self._peers()
        seen = (_signature(self._key_file), peers)  # one object as long as nothing changes
        if seen != self._seen:
            self._trust = self._read(peers)
            self._seen = seen
        return self._trust

    def _read(self, peers: Peers) -> Trust:
        own = None
        if os.path.exists(self._key_file):
            own = known.identity(self._key_file).public
        return Trust.of_peers(list(peers), own)


def _signature(file: str) -> tuple[int, ...]:
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
