"""Who may ask a node for what: users and nodes by key, and tokens that make somebody known once.

Users and nodes are records of the node's ndb file of peers. A token is kept as its hash, in a file of
its own that is removed in the step that uses it: two who have the same token cannot both come in.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import Final

from lib9.faults import fault
from lib9.keys import Peer, Peers, channel_key, format_key, parse_key
from lib9.places import private_directory
from ndbdb.append import append
from ndbdb.record import Record
from spawngrid import files
from spawngrid.errors import BadToken, BadWord
from spawngrid.hubtexts.words import check_user_or_node
from venti_store.known import KnownPeers

RIGHT_GRID: Final = "grid"
RIGHT_CPU: Final = "cpu"
RIGHT_OPERATOR: Final = "operator"
USER_RIGHTS: Final = (RIGHT_GRID,)
NODE_RIGHTS: Final = ("venti", RIGHT_CPU)
TOKEN_SECONDS: Final = 86400
TOKENS_MAX: Final = 256  # that wait to be used
_SECRET_SIZE: Final = 20  # characters of 5 bits or so


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a token makes of who has it."""

    name: str
    node: bool
    expires: int


class Users:
    """Users and nodes that a storage node knows."""

    def __init__(self, peers_file: str, tokens: str) -> None:
        self._peers_file = peers_file
        self._known = KnownPeers(peers_file)
        self._tokens = tokens

    def peers(self) -> Peers:
        """Return everybody, as the file is now."""
        return self._known()

    def key_of(self, user: str) -> str | None:
        """Return the text of a user's key, None if nobody has this name."""
        peer = self.peers().by_name(user)
        return format_key(peer.public) if peer is not None and peer.user else None

    def invite(self, name: str, *, node: bool, now: int) -> str:
        """Return the secret of a token by which one who is to be called `name` becomes known."""
        check_user_or_node(name)
        if self.peers().by_name(name) is not None:
            raise BadWord(f"{name}: there is one already")
        private_directory(self._tokens)
        waiting = self._waiting(now)
        if len(waiting) >= TOKENS_MAX:
            raise BadToken(f"{TOKENS_MAX} tokens wait to be used already")
        secret = secrets.token_hex(_SECRET_SIZE // 2)
        kind = "sys" if node else "user"
        record = files.record_of([(kind, name), ("expires", str(now + TOKEN_SECONDS))])
        files.replace(self._path(secret), record)
        return secret

    def waiting(self, now: int) -> list[Enrolment]:
        """Return who was given a token and has not used it."""
        return self._waiting(now)

    def enrol(self, secret: str, public: bytes, remote_static: bytes, dial: str, now: int) -> Peer:
        """Make the holder of a key known; BadToken if the token is not good for it.

        `remote_static` is what the channel proved: it must belong to `public`. Durable at return.
        """
        parse_key(format_key(public))
        if channel_key(public) != remote_static:
            raise BadToken("this is not the key that you hold")
        path = self._path(secret)
        taken = f"{path}.taken"
        try:
            os.rename(path, taken)  # one of two succeeds
        except FileNotFoundError:
            raise BadToken("this token is not good here: used, too old, or never given") from None
        record = files.read_record(taken)
        enrolment = _enrolment(record) if record is not None else None
        try:
            if enrolment is None or enrolment.expires < now:
                raise BadToken("this token is not good here: used, too old, or never given")
            fault("enrol.taken")
            return self._add(enrolment, public, dial)
        finally:
            files.remove(taken)

    def _add(self, enrolment: Enrolment, public: bytes, dial: str) -> Peer:
        same = self.peers().by_channel_key(channel_key(public))
        if same is not None:
            raise BadToken(f"this key is known already, as {same.name}")
        if self.peers().by_name(enrolment.name) is not None:
            raise BadToken(f"{enrolment.name}: there is one already")
        rights = NODE_RIGHTS if enrolment.node else USER_RIGHTS
        peer = Peer(enrolment.name, not enrolment.node, public, (), frozenset(rights))
        pairs = [("sys" if enrolment.node else "user", enrolment.name)]
        pairs.append(("pubkey", format_key(public)))
        if enrolment.node and dial:
            pairs.append(("dial", dial))
        append(self._peers_file, [Record.of(*pairs, *(("right", right) for right in rights))])
        return peer

    def remove(self, name: str) -> None:
        """Forget a user or node: from now on its key opens nothing. BadWord if there is none."""
        from ndbdb.database import Database
        from ndbdb.parser import unparse

        kept = []
        found = False
        for record in Database(self._peers_file).records():
            if (record.get("user") or record.get("sys")) == name and record.get("pubkey"):
                found = True
            else:
                kept.append(unparse(record))
        if not found:
            raise BadWord(f"{name}: nobody of that name is known")
        files.replace(self._peers_file, "".join(kept).encode(), mode=0o644)

    def _waiting(self, now: int) -> list[Enrolment]:
        found = []
        for name in files.names_in(self._tokens):
            path = os.path.join(self._tokens, name)
            record = files.read_record(path)
            enrolment = _enrolment(record) if record is not None else None
            if enrolment is None or enrolment.expires < now or name.endswith(".taken"):
                files.remove(path)
            else:
                found.append(enrolment)
        return found

    def _path(self, secret: str) -> str:
        return os.path.join(self._tokens, hashlib.blake2s(secret.encode()).hexdigest())


def _enrolment(record: Record) -> Enrolment | None:
    name = record.get("user") or record.get("sys")
    expires = record.get("expires") or ""
    if name is None or not expires.isdigit():
        return None
    return Enrolment(name, record.get("sys") is not None, int(expires))
