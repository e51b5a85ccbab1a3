"""The names of one store: records go into its log when their blocks are here, and show in `scorenames`.

The order, for every record: its blocks are here (looked at, not believed), it is signed, the log has it
on stable storage, the file shows it. Killed in between, nothing is half there: a record is in the
log or not, and the file is brought up to the log by whoever comes next. One process at a time, by a
lock on the folder, so that numbers of records are counted once and no line is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final

from lib9.errors import SpawngridError
from lib9.faults import fault
from lib9.keys import BadKey, Identity
from lib9.sizes import format_count
from lib9.waiting import in_thread, in_trio
from venti_store.errors import CorruptBlock
from venti_store.hashtree.closure import Hole, holes_below
from venti_store.interfaces import LogRecord
from venti_store.names import lookup
from venti_store.names.errors import (
    BadNameRecord,
    BadSignature,
    NoSuchName,
    RootIncomplete,
    UnknownOrigin,
)
from venti_store.names.folder import Folder, Signature
from venti_store.names.interfaces import NameStore, State, Verdict
from venti_store.names.page import SCORENAMES, Numbered, Page, head_of
from venti_store.names.readable import Unreadable, name_records
from venti_store.names.record import REVOKES_MAX, Action, Record
from venti_store.names.signing import Signed, Trust, sign
from venti_store.names.view import Named, by_time
from venti_store.names.waiting import Waiting, bounded, format_waiting, parse_waiting
from venti_store.names.words import (
    EVERYBODY,
    TIME_MAX,
    check_name,
    check_user,
    parse_reference,
    same_second,
    split_full,
)
from venti_store.score import Family, Score, format_score

PENDING: Final = "scorenames.pending"
BATCH_RECORDS: Final = 1000  # shown at a time while a long log is read

log = logging.getLogger("names")


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
        self._identity = identity
        self._head = head_of(store.store_id, stamp)
        self._page = Page.empty(self._head)
        self._read: Signature | None = None  # of the file that `_page` is
        self._doubtful: list[bytes] = []  # given to the store, which did not say that it has them
        self._torn = False  # it ends within a line, of a process that was killed

    # reading

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
        reference = parse_reference(text)
        page = self.page()
        names = [named for word in lookup.words_of(reference) for named in page.names(word)]
        return lookup.choose(reference, names, user)

    def names(self, user: str | None = None) -> list[Named]:
        seen = self.page().names()
        return sorted((n for n in seen if user is None or n.is_for(user)), key=by_time)

    def pending(self) -> list[Verdict]:
        return [waiting.verdict for waiting in self._waiting()]

    @property
    def family(self) -> Family:
        """The hash of the store."""
        return self._store.family

    def waiting(self) -> list[Waiting]:
        """Return what waits and what was refused lately, with the records."""
        return self._waiting()

    def origins(self) -> Mapping[bytes, str]:
        """Return the nodes whose names are accepted, by their keys."""
        return self._trust.origins

    def records(self) -> Iterator[bytes]:
        """Give every record of the log that counts, as it is."""
        for record in self._store.names():
            if self._accepted(record).record is not None:
                yield record.data

    async def refresh(self) -> None:
        async with self._folder.locked():
            page = await self._caught_up()
            waiting = self._waiting()
            left = [each for each in waiting if not _has(page, each.record)]
            if len(left) != len(waiting):
                await self._write_waiting(left)

    # making records

    async def record(
        self,
        name: str,
        score: Score,
        *,
        user: str,
        parent: str = "",
        comment: str = "",
        whole: Iterable[Score] = (),
        now_us: int,
        past: bool = False,
    ) -> Named:
        identity = self._signer()
        check_name(name)
        check_user(user)
        page = self.page()
        near = [n for n in page.names(name) if n.owner == user]
        if parent:
            near += _full(page, parent)
        kept = [known for known in whole if page.shows(known)]
        holes = await holes_below(self._store, score, [*kept, *(n.score for n in near[-2:])])
        if holes:
            raise RootIncomplete(f"{format_score(score)} gets no name: {_missing(holes)}")
        fault("names.whole")
        async with self._folder.locked():
            page = await self._ready(name)
            times = [r.record.time for r in page.records(name) if r.record is not None]
            if past:
                times = [time for time in times if same_second(time, now_us)]
            time = _after(now_us, times)
            mine = [n for n in sorted(page.names(name), key=by_time) if n.owner == user]
            before = [n.full for n in mine if n.time < time]
            record = Record(
                Action.NAME,
                name,
                "",
                user,
                time,
                identity.public,
                page.last_seq(identity.public) + 1,
                score=score,
                parent=parent or (before[-1] if before else ""),
                comment=comment,
            )
            made = await self._append_own(record)
        return _only(self.page().names(name), made)

    async def forget(self, text: str, *, user: str, comment: str = "", now_us: int) -> Named:
        async with self._folder.locked():
            await self._ready(text)
            named = self._own(text, user)
            await self._append_own(self._about(named, Action.FORGET, now_us, comment=comment))
        return named

    async def share(self, text: str, to: str, *, user: str, now_us: int) -> Named:
        _check_to(to)
        async with self._folder.locked():
            await self._ready(text)
            named = self._own(text, user)
            if to not in named.shared:
                await self._append_own(self._about(named, Action.SHARE, now_us, to=to))
        return replace(named, shared=named.shared | {to})

    async def unshare(self, text: str, to: str, *, user: str, now_us: int) -> Named:
        _check_to(to)
        async with self._folder.locked():
            page = await self._ready(text)
            named = self._own(text, user)
            if to not in named.shared:
                raise NoSuchName(f"{named.full}: not shared with {to}")
            ids = [
                r.record.id
                for r in page.records(named.name)
                if r.record is not None
                and (r.record.action, r.record.full) == (Action.SHARE, named.full)
                and (r.record.to, r.record.user) == (to, user)
            ]
            for at in range(0, len(ids), REVOKES_MAX):
                revokes = tuple(ids[at : at + REVOKES_MAX])
                record = self._about(named, Action.UNSHARE, now_us, to=to, revokes=revokes)
                await self._append_own(record)
        return replace(named, shared=named.shared - {to})

    def _signer(self) -> Identity:
        if self._identity is None:
            raise BadKey("no key to sign names with (make one with: grid key new)")
        return self._identity

    def _own(self, text: str, user: str) -> Named:
        named = self.find(text, user)
        if named.owner != user:
            raise NoSuchName(f"{text}: it is {named.owner}'s, who alone can do that")
        return named

    def _about(
        self,
        named: Named,
        action: Action,
        now_us: int,
        *,
        to: str = "",
        revokes: tuple[str, ...] = (),
        comment: str = "",
    ) -> Record:
        origin = self._signer().public
        return Record(
            action,
            named.name,
            named.nonce,
            named.owner,
            _after(now_us, [named.time]),
            origin,
            self.page().last_seq(origin) + 1,
            to=to,
            revokes=revokes,
            comment=comment,
        )

    async def _append_own(self, record: Record) -> Record:
        signed = sign(record, self._signer())
        fault("names.signed")
        await self._append([signed])
        return signed.record

    # taking records

    async def judge(self, records: Sequence[bytes]) -> list[Verdict]:
        return [verdict for _, verdict in [await self._judged(data) for data in records]]

    async def take(self, records: Sequence[bytes]) -> list[Verdict]:
        judged = [(bytes(data), *(await self._judged(bytes(data)))) for data in records]
        fault("names.judged")
        ready = [s for _, s, v in judged if s is not None and v.state is State.RECORDED]
        async with self._folder.locked():
            page = await self._ready()
            await self._keep([(data, verdict) for data, _, verdict in judged])
            numbers = await self._append(ready)
            await self._settle(ready)
        return [
            replace(
                verdict,
                number=numbers.get(data, 0),
                state=State.KNOWN if 0 < numbers.get(data, 0) <= page.number else verdict.state,
            )
            for data, _, verdict in judged
        ]

    async def retry(self) -> list[Verdict]:
        waiting = [w for w in self._waiting() if w.verdict.state is State.PENDING]
        asked = [hole.key for w in waiting for hole in w.verdict.holes[:1]]
        here = dict(zip(asked, await self._store.have_many(asked), strict=True)) if asked else {}
        again = [w.data for w in waiting if not w.verdict.holes or here[w.verdict.holes[0].key]]
        taken = {v.label: v for v in await self.take(again)} if again else {}
        return [taken.get(w.verdict.label, w.verdict) for w in waiting]

    async def _judged(self, data: bytes) -> tuple[Signed | None, Verdict]:
        try:
            signed = self._trust.accept(data)
        except BadNameRecord as error:
            return None, Verdict(State.REFUSED, "", why=str(error))
        except (BadSignature, UnknownOrigin) as error:
            label = str(error).partition(":")[0]
            state = State.REFUSED if isinstance(error, BadSignature) else State.PENDING
            return None, Verdict(state, label, why=str(error))
        record = signed.record
        if record.score is None:
            return signed, Verdict(State.RECORDED, record.full)
        if len(record.score) != self._store.family.size:
            why = f"a score of another hash than this store's ({self._store.family.name})"
            return signed, Verdict(State.REFUSED, record.full, why=why)
        page = self.page()
        near = [*page.names(record.name)[-1:], *(_full(page, record.parent, must=False))]
        holes = await holes_below(self._store, record.score, [named.score for named in near])
        if holes:
            why = _missing(holes)
            return signed, Verdict(State.PENDING, record.full, why=why, holes=tuple(holes))
        return signed, Verdict(State.RECORDED, record.full)

    def _waiting(self) -> list[Waiting]:
        return parse_waiting(self._folder.read(PENDING).decode(errors="surrogateescape"))

    async def _keep(self, judged: list[tuple[bytes, Verdict]]) -> None:
        """Keep what is not ready, over restarts, with what was found of it now."""
        kept = {waiting.data: waiting for waiting in self._waiting()}
        before = dict(kept)
        for data, verdict in judged:
            if verdict.state in (State.PENDING, State.REFUSED):
                for each in parse_waiting(data.decode(errors="surrogateescape")):
                    if each.data == data:
                        kept[data] = Waiting(each.record, data, verdict)
        if kept != before:
            await self._write_waiting(list(kept.values()))

    async def _settle(self, recorded: list[Signed]) -> None:
        """Let go of what is in the log now."""
        done = {signed.data for signed in recorded}
        waiting = self._waiting()
        left = [each for each in waiting if each.data not in done]
        if len(left) != len(waiting):
            await self._write_waiting(left)

    async def _write_waiting(self, waiting: list[Waiting]) -> None:
        await self._folder.replace(PENDING, format_waiting(bounded(waiting)).encode())
        fault("names.pending-written")

    # the log and the file; all of it with the lock held

    async def _append(self, records: list[Signed]) -> dict[bytes, int]:
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
            await self._caught_up()
        return dict(zip(data, numbers, strict=True))

    async def _ready(self, text: str = "") -> Page:
        """Bring the file up to the log, and the log to what it may have taken in spite of an error.

        A store without space keeps what it was given and may find space later; then the record counts.
        Of the words that `text` may mean all records are there to be read: a file that somebody
        changed is made again.
        """
        if self._doubtful:
            with _shielded():
                await self._store.append_names(self._doubtful)
                self._doubtful = []
        page = await self._caught_up()
        try:
            for word in lookup.words_of(parse_reference(text)) if text else ():
                page.records(word)
        except BadNameRecord as error:
            log.warning("%s: it is made again", error)
            page = await self._written(Page.empty(self._head), anew=True)
        return page

    async def _caught_up(self) -> Page:
        """Bring the file up to the log, from nothing if it is damaged or not this log's."""
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
            return record is not None and page.last() == self._accepted(record)
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
                yield self._accepted(record)

    def _accepted(self, record: LogRecord) -> Numbered:
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


def _missing(holes: Sequence[Hole]) -> str:
    first = holes[0]
    more = f" and {format_count(len(holes) - 1, 'other')}" if len(holes) > 1 else ""
    return f"{format_score(first.key.score)} ({first.key.kind.name.lower()}){more}: {first.why}"


def _after(now_us: int, times: Iterable[int]) -> int:
    """Return a time for a record behind those of `times`, whatever the clocks of their nodes said."""
    return min(max(now_us, *(time + 1 for time in times), 0), TIME_MAX)


def _check_to(to: str) -> None:
    if to != EVERYBODY:
        check_user(to)


def _full(page: Page, full: str, *, must: bool = True) -> list[Named]:
    parts = split_full(full)
    found = [n for n in page.names(parts[0]) if n.full == full] if parts else []
    if must and not found:
        raise NoSuchName(f"{full}: no such name")
    return found


def _has(page: Page, record: Record) -> bool:
    return any(numbered.record == record for numbered in page.records(record.name))


def _only(names: list[Named], record: Record) -> Named:
    for named in names:
        if (named.full, named.seq) == (record.full, record.seq):
            return named
    raise SpawngridError(f"{record.full}: recorded, but the names file does not show it")
