"""The names of a storage node, in the log of its store, for one who waits for each answer."""

from __future__ import annotations

import os
import time
from typing import Final, Self

from lib9.waiting import run_now
from spawngrid.stosvc.state import Named
from venti_store.names.book import Book as SignedNames
from venti_store.names.errors import NoSuchName
from venti_store.names.lookup import history
from venti_store.names.opened import open_book
from venti_store.names.view import Named as Seen
from venti_store.score import format_score, parse_score
from venti_store.stores.lmdb.store import LmdbStore

_MICROSECONDS: Final = 1_000_000


class Book:
    """What users call their roots. Other processes may add names meanwhile."""

    def __init__(self, store: LmdbStore, names: SignedNames) -> None:
        self._store = store
        self._names = names

    @classmethod
    def open(cls, path: str) -> Self:
        """Open the names of the store at `path`, signed with the key of this node from now on.

        BadKey, or what opening a store raises.
        """
        store = LmdbStore(path)
        return cls(store, open_book(store, os.path.abspath(path)))

    def close(self) -> None:
        run_now(self._store.aclose())

    def find(self, user: str, name: str) -> Named | None:
        """Return what `name` means for `user`, None if nothing that they may see."""
        run_now(self._names.refresh())
        try:
            return self._named(self._names.find(name, user))
        except NoSuchName:
            return None

    def visible(self, user: str) -> list[Named]:
        """Return all that `user` may use, oldest first."""
        run_now(self._names.refresh())
        return [self._named(seen) for seen in self._names.names(user)]

    def record(self, user: str, name: str, score: str, base: str = "") -> str:
        """Let `name` of `user` mean `score`, durable at return; the full name. Again: the same.

        `base`: a root with a name from which it was made: only what differs is looked at.
        RootIncomplete if not all of it is in the store.
        """
        run_now(self._names.refresh())
        mine = [n for n in self._names.names(user) if (n.name, n.owner) == (name, user)]
        newest = history(mine, user)[:1]
        if newest and format_score(newest[0].score) == score:
            return newest[0].full
        made = run_now(
            self._names.record(
                name,
                parse_score(score),
                user=user,
                whole=[parse_score(base)] if base else [],
                now_us=time.time_ns() // 1000,
            )
        )
        return made.full

    def share(self, user: str, other: str, name: str, *, on: bool) -> None:
        """Let `other` use what `name` of `user` means, or no longer; durable at return."""
        now_us = time.time_ns() // 1000
        change = self._names.share if on else self._names.unshare
        run_now(change(name, other, user=user, now_us=now_us))

    def _named(self, seen: Seen) -> Named:
        node = self._names.origins().get(seen.origin, "")
        return Named(
            seen.full, format_score(seen.score), seen.time // _MICROSECONDS, node, seen.owner
        )
