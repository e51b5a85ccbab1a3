"""Who signed a name record, and whose names are accepted here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from lib9 import keys
from venti_store.names.errors import BadSignature, UnknownOrigin
from venti_store.names.record import Action, Record, body_of, named, pack, unpack, unsigned

RIGHT: Final = "names"
"""What a node's record must have for its names to count here."""
_CONTEXT: Final = b"spawngrid name record\n"
"""Keeps a signature from meaning anything else: the same key also speaks for its node."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A record with the bytes that a log keeps of it; `data` is its only form."""

    record: Record
    data: bytes


def sign(record: Record, identity: keys.Identity) -> Signed:
    """Return the record, whose origin is `identity`, with its nonce if it is a NAME, and signed.

    BadNameRecord for what no record may say.
    """
    assert record.origin == identity.public, "one signs for oneself"
    if record.action is Action.NAME:
        record = named(record)
    return Signed(record, pack(record, identity.sign(_CONTEXT + unsigned(record))))


class Trust:
    """The nodes whose names are accepted: their names here, by public key."""

    def __init__(self, origins: Mapping[bytes, str]) -> None:
        self.origins = dict(origins)

    @classmethod
    def of_peers(cls, peers: Iterable[keys.Peer], own: bytes | None = None) -> Self:
        """Take the nodes (not users) with the right `names`; and our own key, always."""
        origins = {p.public: p.name for p in peers if not p.user and RIGHT in p.rights}
        if own is not None:
            known = {p.public: p.name for p in peers if not p.user}
            origins[own] = known.get(own, "")
        return cls(origins)

    def accept(self, data: bytes) -> Signed:
        """Return the record in these bytes if a node signed it whose names are accepted here.

        BadNameRecord, BadSignature or UnknownOrigin otherwise.
        """
        record, signature = unpack(data)
        if record.origin not in self.origins:
            raise UnknownOrigin(
                f"{record.full}: signed with {keys.format_key(record.origin)}, and no node here has that"
                f" key and the right {RIGHT}"
            )
        if not keys.verify(record.origin, _CONTEXT + body_of(data), signature):
            raise BadSignature(
                f"{record.full}: the signature is not that of {self.origins[record.origin] or 'its key'}"
            )
        return Signed(record, data)
