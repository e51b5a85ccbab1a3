"""The names of a storage node: signed records, read and added to."""

from __future__ import annotations

import time
from typing import Final

from lib9.keys import Identity
from ndbdb.append import append
from ndbdb.database import read_file, whole_lines
from ndbdb.parser import parse
from spawngrid.settings.config import NodeConfig
from spawngrid.stosvc.state import Named
from venti_store.names import lookup
from venti_store.names.errors import NoSuchName
from venti_store.names.lookup import words_of
from venti_store.names.record import Action, Record, unpack
from venti_store.names.signing import Signed, sign
from venti_store.names.view import Named as Seen
from venti_store.names.view import View, shares
from venti_store.names.words import parse_reference
from venti_store.score import format_score, parse_score

_MICROSECONDS: Final = 1_000_000


class FileBook:
    """Records in one ndb file, a line each."""

    def __init__(self, file: str, identity: Identity) -> None:
        self._file = file
        self._identity = identity
        self._view = View()
        self._read = -1

    def find(self, user: str, name: str) -> Named | None:
        reference = parse_reference(name)
        words = words_of(reference)
        seen = [named for named in self._all() if named.name in words and named.is_for(user)]
        try:
            return _named(lookup.choose(reference, seen, user))
        except NoSuchName:
            return None

    def visible(self, user: str) -> list[Named]:
        return [_named(named) for named in self._all() if named.is_for(user)]

    def record(self, user: str, name: str, score: str) -> str:
        own = lookup.history([n for n in self._all() if n.name == name and n.owner == user], user)
        if own and format_score(own[0].score) == score:
            return own[0].full
        after = own[0].time + 1 if own else 0
        record = Record(
            Action.NAME,
            name,
            "",
            user,
            max(time.time_ns() // 1000, after),
            self._identity.public,
            self._next(),
            score=parse_score(score),
            parent=own[0].full if own else "",
        )
        return self._append(sign(record, self._identity)).record.full

    def share(self, user: str, other: str, name: str, *, on: bool) -> None:
        reference = parse_reference(name)
        mine = [named for named in self._all() if named.owner == user]
        named = lookup.choose(reference, [n for n in mine if n.name in words_of(reference)], user)
        about = self._view.about(named.full)
        there = next(r for r in about if r.action is Action.NAME and r.user == user)
        counted = tuple(s.id for s in shares(there, about) if s.to == other)
        if on == bool(counted):
            return
        record = Record(
            Action.SHARE if on else Action.UNSHARE,
            named.name,
            named.nonce,
            user,
            max(time.time_ns() // 1000, named.time + 1),
            self._identity.public,
            self._next(),
            to=other,
            revokes=() if on else counted,
        )
        self._append(sign(record, self._identity))

    def _append(self, signed: Signed) -> Signed:
        record = next(parse(signed.data.decode()))
        append(self._file, [record])
        self._view.add(signed.record)
        return signed

    def _next(self) -> int:
        return self._view.last_seq(self._identity.public) + 1

    def _all(self) -> list[Seen]:
        try:
            data = read_file(self._file)
        except FileNotFoundError:
            return []
        if len(data) != self._read:
            self._read = len(data)
            for line in whole_lines(data).splitlines(keepends=True):
                self._view.add(unpack(line.encode())[0])
        return self._view.visible()


def _named(seen: Seen) -> Named:
    return Named(seen.full, format_score(seen.score), seen.time // _MICROSECONDS, "", seen.owner)


def open_book(config: NodeConfig, identity: Identity) -> FileBook:
    """Return the names of a storage node."""
    return FileBook(config.place("names"), identity)
