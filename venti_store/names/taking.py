"""Taking records that others made: each is verified, and of a name all blocks are here, or it waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib9.faults import fault
from venti_store.hashtree.closure import holes_below
from venti_store.names.errors import BadNameRecord, BadSignature, UnknownOrigin
from venti_store.names.folder import Folder
from venti_store.names.interfaces import NameStore, State, Verdict
from venti_store.names.pending import Pending
from venti_store.names.shown import Shown
from venti_store.names.signing import Signed, Trust
from venti_store.names.waiting import why_missing


class Taking:
    """What NameBook says of `judge`, `take` and `retry`."""

    def __init__(
        self, store: NameStore, folder: Folder, trust: Trust, shown: Shown, pending: Pending
    ) -> None:
        self._store, self._folder, self._trust = store, folder, trust
        self._shown, self._pending = shown, pending

    async def judge(self, records: Sequence[bytes]) -> list[Verdict]:
        return [verdict for _, verdict in [await self._judged(data) for data in records]]

    async def take(self, records: Sequence[bytes]) -> list[Verdict]:
        judged = [(bytes(data), *(await self._judged(bytes(data)))) for data in records]
        fault("names.judged")
        ready = [s for _, s, v in judged if s is not None and v.state is State.RECORDED]
        async with self._folder.locked():
            page = await self._shown.ready()
            await self._pending.keep((data, verdict) for data, _, verdict in judged)
            numbers = await self._shown.append(ready)
            done = {signed.data for signed in ready}
            await self._pending.let_go(lambda waiting: waiting.data in done)
        return [
            replace(
                verdict,
                number=numbers.get(data, 0),
                state=State.KNOWN if 0 < numbers.get(data, 0) <= page.number else verdict.state,
            )
            for data, _, verdict in judged
        ]

    async def retry(self) -> list[Verdict]:
        waiting = [w for w in self._pending.read() if w.verdict.state is State.PENDING]
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
        page = self._shown.page()
        near = [*page.names(record.name)[-1:], page.named(record.parent)]
        beside = [named.score for named in near if named is not None]
        holes = await holes_below(self._store, record.score, beside)
        if holes:
            why = why_missing(holes)
            return signed, Verdict(State.PENDING, record.full, why=why, holes=tuple(holes))
        return signed, Verdict(State.RECORDED, record.full)
