"""Who we are and whom we know: the key file and the ndb file of peers of this user or node."""

from __future__ import annotations

import os

from lib9 import keys, places
from lib9.keys import BadKey, Identity, Peers
from ndbdb.database import Database


def identity(path: str | None = None) -> Identity:
    """Return our identity; BadKey says how to make one if there is none."""
    file = path or places.config_file("key")
    try:
        return keys.load(file)
    except FileNotFoundError:
        raise BadKey(f"{file}: no key there (make one with: grid key new)") from None


def peers(path: str | None = None) -> Peers:
    """Return everybody who is known; nobody if there is no such file."""
    file = path or places.config_file("ndb")
    if not os.path.exists(file):
        return Peers()
    records = Database(file).records()
    return Peers.of_records([(pair.attr, pair.value) for pair in r.pairs()] for r in records)
