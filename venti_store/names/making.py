"""Making records: names of roots that are here whole, forgets and shares, signed by this node.

The order: the blocks are here (looked at, not believed), the record is signed, the log has it on stable
storage, the file shows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lib9.errors import SpawngridError
from lib9.faults import fault
from lib9.keys import BadKey, Identity
from venti_store.hashtree.closure import holes_below
from venti_store.names.errors import NoSuchName, RootIncomplete
from venti_store.names.folder import Folder
from venti_store.names.interfaces import NameStore
from venti_store.names.page import Page
from venti_store.names.record import REVOKES_MAX, Action, Record
from venti_store.names.shown import Shown
from venti_store.names.signing import sign
from venti_store.names.view import Named, by_time
from venti_store.names.waiting import why_missing
from venti_store.names.words import EVERYBODY, TIME_MAX, check_name, check_user, same_second
from venti_store.score import Score, format_score


class Making:
    """What NameBook says of `record`, `forget`, `share` and `unshare`."""

    def __init__(
        self, store: NameStore, folder: Folder, identity: Identity | None, shown: Shown
    ) -> None:
        """Without `identity` nothing can be made: BadKey."""
        self._store, self._folder, self._identity = store, folder, identity
        self._shown = shown

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
        page = self._shown.page()
        near = [n for n in page.names(name) if n.owner == user]
        if parent:
            near.append(_need(page, parent))
        kept = [known for known in whole if page.shows(known)]
        holes = await holes_below(self._store, score, [*kept, *(n.score for n in near[-2:])])
        if holes:
            raise RootIncomplete(f"{format_score(score)} gets no name: {why_missing(holes)}")
        fault("names.whole")
        async with self._folder.locked():
            page = await self._shown.ready(name)
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
        return _only(self._shown.page().names(name), made)

    async def forget(self, text: str, *, user: str, comment: str = "", now_us: int) -> Named:
        async with self._folder.locked():
            await self._shown.ready(text)
            named = self._own(text, user)
            await self._append_own(self._about(named, Action.FORGET, now_us, comment=comment))
        return named

    async def share(self, text: str, to: str, *, user: str, now_us: int) -> Named:
        _check_to(to)
        async with self._folder.locked():
            await self._shown.ready(text)
            named = self._own(text, user)
            if to not in named.shared:
                await self._append_own(self._about(named, Action.SHARE, now_us, to=to))
        return replace(named, shared=named.shared | {to})

    async def unshare(self, text: str, to: str, *, user: str, now_us: int) -> Named:
        _check_to(to)
        async with self._folder.locked():
            page = await self._shown.ready(text)
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
        named = self._shown.find(text, user)
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
            self._shown.page().last_seq(origin) + 1,
            to=to,
            revokes=revokes,
            comment=comment,
        )

    async def _append_own(self, record: Record) -> Record:
        signed = sign(record, self._signer())
        fault("names.signed")
        await self._shown.append([signed])
        return signed.record


def _after(now_us: int, times: Iterable[int]) -> int:
    """Return a time for a record behind those of `times`, whatever the clocks of their nodes said."""
    return min(max(now_us, *(time + 1 for time in times), 0), TIME_MAX)


def _check_to(to: str) -> None:
    if to != EVERYBODY:
        check_user(to)


def _need(page: Page, full: str) -> Named:
    named = page.named(full)
    if named is None:
        raise NoSuchName(f"{full}: no such name")
    return named


def _only(names: list[Named], record: Record) -> Named:
    for named in names:
        if (named.full, named.seq) == (record.full, record.seq):
            return named
    raise SpawngridError(f"{record.full}: recorded, but the names file does not show it")
