"""`scorenames`, the file that shows the names of one store, brought up to the store's log.

A record is on stable storage in the log before the file shows it. Killed in between, the file is brought
up to the log by whoever comes next. Whoever changes anything has the folder's lock.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from lib9.faults import fault
from lib9.waiting import in_thread, in_trio
from venti_store.errors import CorruptBlock
from venti_store.interfaces import LogRecord
from venti_store.names import lookup
from venti_store.names.errors import BadNameRecord, BadSignature, UnknownOrigin
from venti_store.names.folder import Folder, Signature
from venti_store.names.interfaces import NameStore
from venti_store.names.page import SCORENAMES, Numbered, Page, head_of
from venti_store.names.readable import Unreadable, name_records
from venti_store.names.signing import Signed, Trust
from venti_store.names.view import Named
from venti_store.names.words import parse_reference

BATCH_RECORDS: Final = 1000  # shown at a time while a long log is read

log = logging.getLogger("names")


class Shown:
    """The file of a store and a folder. `stamp` changes when `trust` may have: then it is made again."""

    def __init__(self, store: NameStore, folder: Folder, trust: Trust, stamp: str) -> None:
        self._store = store
        self._folder = folder
        self._trust = trust
        self._head = head_of(store.store_id, stamp)
        self._page = Page.empty(self._head)
        self._read: Signature | None = None  # of the file that `_page` is
        self._doubtful: list[bytes] = []  # given to the store, which did not say that it has them
        self._torn = False  # it ends within a line, of a process that was killed

    def page(self) -> Page:
        """Return the file as it is now."""
        signature = self._folder.signature(SCORENAMES)
        if signature != self._read:
            data = self._folder.read(SCORENAMES)
            whole = data[: data.rfind(b"\n") + 1]
            self._torn = len(whole) != len(data)
            self._page = Page(whole.decode(errors="surrogateescape"), self._head)
            self._read = signature
        return self._page

    def find(self, text: str, user: str) -> Named:
        """Return what `text` means for `user`; raises as NameBook says."""
        reference = parse_reference(text)
        page = self.page()
        names = [named for word in lookup.words_of(reference) for named in page.names(word)]
        return lookup.choose(reference, names, user)

    # changing it: with the lock held

    async def append(self, records: list[Signed]) -> dict[bytes, int]:
        """Append records to the log and show them; return their numbers by their bytes."""
        if not records:
            return {}
        data = [signed.data for signed in records]
        self._doubtful += data
        with _shielded():
            # a record that was given to the store and not waited for would have a number of its own,
            # which the next one would be given too
            numbers = await self._store.append_names(data)
            del self._doubtful[-len(data) :]
            fault("names.appended")
            await self.caught_up()
        return dict(zip(data, numbers, strict=True))

    async def ready(self, text: str = "") -> Page:
        """Bring the file up to the log, and the log to what it may have taken in spite of an error.

        A store without space keeps what it was given and may find space later; then the record counts.
        Of the words that `text` may mean all records are there to be read: a file that somebody
        changed is made again.
        """
        if self._doubtful:
            with _shielded():
                await self._store.append_names(self._doubtful)
                self._doubtful = []
        page = await self.caught_up()
        try:
            for word in lookup.words_of(parse_reference(text)) if text else ():
                page.records(word)
        except BadNameRecord as error:
            log.warning("%s: it is made again", error)
            page = await self._written(Page.empty(self._head), anew=True)
        return page

    async def caught_up(self) -> Page:
        """Bring the file up to the log, from nothing if it is damaged or not this log's; return it."""
        page = self.page()
        known = not self._torn and page.is_sound() and self._is_of_this_log(page)
        try:
            return await self._written(page if known else Page.empty(self._head), anew=not known)
        except BadNameRecord as error:
            log.warning("%s: it is made again", error)
            return await self._written(Page.empty(self._head), anew=True)

    async def _written(self, old: Page, *, anew: bool) -> Page:
        """Write what the log has behind `old`; BadNameRecord if a line of that was changed."""
        new = await in_thread(lambda: self._extended(old))
        if new is old and not anew:
            return old
        if not anew and new.text.startswith(old.text):
            await self._folder.append(SCORENAMES, new.text[len(old.text) :].encode())
        else:
            await self._folder.replace(SCORENAMES, new.text.encode(errors="surrogateescape"))
        fault("names.shown")
        self._page, self._read, self._torn = new, self._folder.signature(SCORENAMES), False
        return new

    def _is_of_this_log(self, page: Page) -> bool:
        """Tell whether the log has what the page ends with: a store may be set back to an older copy."""
        if page.number == 0:
            return True
        try:
            record = next(iter(self._store.names(page.number)), None)
        except CorruptBlock:
            return False
        try:
            return record is not None and page.last() == self.accepted(record)
        except BadNameRecord:
            return False

    def _extended(self, page: Page) -> Page:
        batch: list[Numbered] = []
        for numbered in self._since(page.number + 1):
            batch.append(numbered)
            if len(batch) == BATCH_RECORDS:
                page, batch = page.extended(batch), []
        return page.extended(batch) if batch else page

    def _since(self, start: int) -> Iterable[Numbered]:
        for record in name_records(self._store, start):
            if isinstance(record, Unreadable):
                log.warning("%s", record.why)
                yield Numbered(record.number, None, record.why.replace("\n", " "))
            else:
                yield self.accepted(record)

    def accepted(self, record: LogRecord) -> Numbered:
        """Return an entry of the log as it counts: verified, or with the reason why it does not."""
        try:
            return Numbered(record.number, self._trust.accept(record.data).record)
        except (BadNameRecord, BadSignature, UnknownOrigin) as why:
            log.warning("%s", why)
            return Numbered(record.number, None, str(why).replace("\n", " "))


def _shielded() -> AbstractContextManager[object]:
    if not in_trio():
        return nullcontext()
    import trio

    return trio.CancelScope(shield=True)
