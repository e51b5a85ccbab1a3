"""The grids that a user has joined: records of storage nodes in the user's ndb file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from lib9 import keys, places
from lib9.errors import UsageError
from lib9.keys import BadKey, Identity
from ndbdb.append import append
from ndbdb.database import Database
from ndbdb.parser import parse
from spawngrid.errors import NoSuchNode

TOKEN_SIZE_MAX: Final = 400  # characters
VARIABLE: Final = "grid"  # of the environment: which grid, where there are several


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage node: its name, where it listens, and the public key it must have (Ed25519)."""

    name: str
    dial: str
    public: bytes


@dataclass(frozen=True, slots=True)
class Token:
    """What `grid user add` prints: whom to dial, who that must be, and the secret to show.

    As text it is one word in any shell: commas stand for the exclamation marks of the address.
    """

    dial: str
    public: bytes
    secret: str

    def __str__(self) -> str:
        return f"{self.dial.replace('!', ',')}/{self.public.hex()}/{self.secret}"


def parse_token(text: str) -> Token:
    """Return the token that `text` spells; UsageError."""
    dial, _, rest = text.strip().partition("/")
    digits, _, secret = rest.partition("/")
    try:
        public = keys.parse_key(f"ed25519:{digits}")
    except BadKey:
        raise UsageError("this is no token (grid user add prints them)") from None
    if not secret.isalnum() or len(text) > TOKEN_SIZE_MAX:
        raise UsageError("this is no token (grid user add prints them)")
    return Token(dial.replace(",", "!"), public, secret)


def ndb_file() -> str:
    return places.config_file("ndb")


def identity() -> Identity:
    """Return our identity; BadKey says how to make one if there is none."""
    file = places.config_file("key")
    try:
        return keys.load(file)
    except FileNotFoundError:
        raise BadKey(f"{file}: no key there (grid key new makes one, grid join too)") from None


def storages() -> list[Storage]:
    """Return the storage nodes of the grids that we have joined."""
    if not os.path.exists(ndb_file()):
        return []
    found = []
    for record in Database(ndb_file()).records():
        name, dial, key = (record.get(attr) for attr in ("sys", "dial", "pubkey"))
        if name and dial and key and "grid" in record.all("service"):
            found.append(Storage(name, dial, keys.parse_key(key)))
    return found


def choose(name: str | None) -> Storage:
    """Return the grid called `name`, or the only one; NoSuchNode, UsageError."""
    found = {storage.name: storage for storage in storages()}
    if name:
        if name not in found:
            raise NoSuchNode(f"{name}: you have not joined a grid of this name")
        return found[name]
    if not found:
        raise NoSuchNode("you have joined no grid (grid join TOKEN)")
    if len(found) > 1:
        listed = ", ".join(sorted(found))
        raise UsageError(f"several grids: say which with --grid NAME: {listed}")
    return next(iter(found.values()))


def remember(record: str) -> None:
    """Add the record of a storage node; a record that is there already stays alone."""
    os.makedirs(os.path.dirname(ndb_file()), mode=0o700, exist_ok=True)
    parsed = next(parse(f"{record}\n"), None)
    if parsed is None or parsed.get("pubkey") is None:
        raise UsageError("the node said nothing of itself that makes sense")
    there = {storage.public for storage in storages()}
    if keys.parse_key(parsed.need("pubkey")) not in there:
        append(ndb_file(), [parsed])
