"""Whose names are accepted on this machine, and our own key, from the files of configuration."""

from __future__ import annotations

import os

from lib9 import places
from ndbdb.database import Database
from ndbdb.errors import NoSuchDatabase


def has_key() -> bool:
    """Tell whether names are signed here: this user has a key."""
    return os.path.exists(places.config_file("key"))


def stamp() -> str:
    """Return words that change whenever the answers of `trust` may."""
    peers = places.config_file("ndb")
    try:
        files = Database(peers).files()
    except NoSuchDatabase:
        files = []
    states = [_state(file) for file in (places.config_file("key"), *files)]
    return "trust " + " ".join(states)


def _state(file: str) -> str:
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return "-"
    return f"{status.st_ino:x}.{status.st_size:x}.{status.st_mtime_ns:x}"
