"""Why a name is visible to somebody, or why not. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lib9.keys import format_key
from venti_store.names.interfaces import State
from venti_store.names.lookup import words_of
from venti_store.names.page import Numbered, Page
from venti_store.names.record import Action, Record
from venti_store.names.view import forgotten_by, shares
from venti_store.names.waiting import Waiting
from venti_store.names.words import EVERYBODY, Reference, format_time
from venti_store.score import format_score


class Standing(StrEnum):
    """How it stands with a name for a user."""

    VISIBLE = "visible"
    HIDDEN = "hidden"  # it is there, and not for this user
    FORGOTTEN = "forgotten"
    PENDING = "pending"
    REFUSED = "refused"
    UNKNOWN = "unknown"  # nothing has come here, or only what others say of it


@dataclass(frozen=True, slots=True)
class Reason:
    """What can be said of one full name."""

    full: str
    standing: Standing
    why: str


class Explainer:
    """Knows what came here: the page of the log, what waits, and the names of nodes by their keys."""

    def __init__(
        self, page: Page, waiting: Iterable[Waiting], origins: Mapping[bytes, str]
    ) -> None:
        self._page = page
        self._waiting = list(waiting)
        self._origins = origins

    def explain(self, reference: Reference, user: str) -> list[Reason]:
        """Return a reason for every name that `reference` may mean, in the order they came."""
        reasons: list[Reason] = []
        for word in words_of(reference):
            start = reference.name if word != reference.name else f"{word}."
            reasons += self._of_log(word, start, user)
            reasons += self._of_waiting(start)
        if not reasons:
            why = "no record of this name has come here"
            reasons.append(Reason(reference.name, Standing.UNKNOWN, why))
        return reasons

    def signer(self, origin: bytes) -> str:
        """Return the name of the node that signs with a key, or the key."""
        if origin not in self._origins:
            return format_key(origin)
        return self._origins[origin] or "this node"

    def _of_log(self, word: str, start: str, user: str) -> Iterable[Reason]:
        by_full: dict[str, list[Numbered]] = {}
        for numbered in self._page.records(word):
            if numbered.record is not None and numbered.record.full.startswith(start):
                by_full.setdefault(numbered.record.full, []).append(numbered)
        for full, spoken in by_full.items():
            about = [n.record for n in spoken if n.record is not None]
            names = [n for n in spoken if n.record and n.record.action is Action.NAME]
            for numbered in names:
                assert numbered.record is not None
                yield self._of_name(numbered.record, numbered.number, about, user)
            if not names:
                what = ", ".join(sorted({f"a {record.action}" for record in about}))
                why = f"the record itself has not come here, only {what}"
                yield Reason(full, Standing.UNKNOWN, why)
        for refused in self._page.refused(word):
            label, _, why = refused.why.partition(": ")
            if label.startswith(start):
                why = f"{why} (log number {refused.number})"
                yield Reason(label, Standing.REFUSED, why)

    def _of_name(self, record: Record, number: int, about: list[Record], user: str) -> Reason:
        signed = self._by(record, f"log number {number}")
        forgotten = forgotten_by(record, about)
        if forgotten is not None:
            return Reason(
                record.full,
                Standing.FORGOTTEN,
                f"{record.user} forgot it, {self._by(forgotten)}; named {signed}",
            )
        if record.user == user:
            return Reason(record.full, Standing.VISIBLE, f"{user}'s, named {signed}")
        counting = shares(record, about)
        for share in counting:
            if share.to in (user, EVERYBODY):
                whom = "everybody" if share.to == EVERYBODY else user
                why = f"{record.user} shared it with {whom}, {self._by(share)}; named {signed}"
                return Reason(record.full, Standing.VISIBLE, why)
        why = f"it is {record.user}'s and not shared with {user}; named {signed}"
        back = [r for r in about if r.action is Action.UNSHARE and r.user == record.user]
        taken = [r for r in back if r.to in (user, EVERYBODY)]
        if taken:
            last = max(taken, key=lambda r: (r.time, r.id))
            why = f"{record.user} took it back from {user}, {self._by(last)}; named {signed}"
        return Reason(record.full, Standing.HIDDEN, why)

    def _by(self, record: Record, more: str = "") -> str:
        more = f", {more}" if more else ""
        return f"{format_time(record.time)} by {self.signer(record.origin)}{more}"

    def _of_waiting(self, start: str) -> Iterable[Reason]:
        for waiting in self._waiting:
            verdict = waiting.verdict
            if not waiting.record.full.startswith(start):
                continue
            refused = verdict.state is State.REFUSED
            standing = Standing.REFUSED if refused else Standing.PENDING
            yield Reason(
                waiting.record.full, standing, verdict.why.removeprefix(f"{verdict.label}: ")
            )
            for hole in verdict.holes:
                block = f"{format_score(hole.key.score)} ({hole.key.kind.name.lower()})"
                yield Reason(waiting.record.full, standing, f"block {block}: {hole.why}")
