"""The names of one store: records go into its log when their blocks are here, and show in `scorenames`.

The order, for every record: its blocks are here (looked at, not believed), it is signed, the log has it
on stable storage, the file shows it. Killed in between, nothing is half there: a record is in the
log or not, and the file is brought up to the log by whoever comes next. One process at a time, by a
lock on the folder, so that numbers of records are counted once and no line is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lib9.keys import Identity
from venti_store.names.folder import Folder
from venti_store.names.interfaces import NameStore, Verdict
from venti_store.names.making import Making
from venti_store.names.page import Page
from venti_store.names.pending import Pending
from venti_store.names.shown import Shown
from venti_store.names.signing import Trust
from venti_store.names.taking import Taking
from venti_store.names.view import Named, by_time
from venti_store.names.waiting import Waiting
from venti_store.score import Family


class Book:
    """A NameBook on a store and a folder. `identity` signs; without it others' records are taken only.

    `stamp` changes when `trust` may have: then all records are verified again.
    """

    def __init__(
        self,
        store: NameStore,
        folder: Folder,
        trust: Trust,
        *,
        identity: Identity | None = None,
        stamp: str = "",
    ) -> None:
        self._store = store
        self._folder = folder
        self._trust = trust
        self._shown = shown = Shown(store, folder, trust, stamp)
        self._pending = pending = Pending(folder)
        making = Making(store, folder, identity, shown)
        self.record, self.forget = making.record, making.forget
        self.share, self.unshare = making.share, making.unshare
        taking = Taking(store, folder, trust, shown, pending)
        self.judge, self.take, self.retry = taking.judge, taking.take, taking.retry

    @property
    def family(self) -> Family:
        """The hash of the store."""
        return self._store.family

    def page(self) -> Page:
        """Return the file as it is now."""
        return self._shown.page()

    def find(self, text: str, user: str) -> Named:
        return self._shown.find(text, user)

    def names(self, user: str | None = None) -> list[Named]:
        seen = self.page().names()
        return sorted((n for n in seen if user is None or n.is_for(user)), key=by_time)

    def pending(self) -> list[Verdict]:
        return [waiting.verdict for waiting in self.waiting()]

    def waiting(self) -> list[Waiting]:
        """Return what waits and what was refused lately, with the records."""
        return self._pending.read()

    def origins(self) -> Mapping[bytes, str]:
        """Return the nodes whose names are accepted, by their keys."""
        return self._trust.origins

    def records(self) -> Iterator[bytes]:
        """Give every record of the log that counts, as it is."""
        for record in self._store.names():
            if self._shown.accepted(record).record is not None:
                yield record.data

    async def refresh(self) -> None:
        async with self._folder.locked():
            page = await self._shown.caught_up()
            await self._pending.let_go(lambda waiting: page.has(waiting.record))
