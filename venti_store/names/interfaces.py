"""What the grid and the replicator ask of a store's names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from venti_store.hashtree.closure import Hole
from venti_store.interfaces import BlockReader, LogStore
from venti_store.names.view import Named
from venti_store.score import Score


class NameStore(BlockReader, LogStore, Protocol):
    """A store whose log takes name records: LmdbStore, MemoryStore."""


class State(StrEnum):
    """What became of a name record."""

    RECORDED = "recorded"  # it is in the log now
    KNOWN = "known"  # it was there
    PENDING = "pending"  # it waits for blocks, or for the key of its origin to be known
    REFUSED = "refused"  # it never will be: damaged, or not signed by whom it says


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a name record. `label` names it for people; `number` is its place in the log.

    `holes` are blocks that it waits for, perhaps not all.
    """

    state: State
    label: str
    number: int = 0
    why: str = ""
    holes: tuple[Hole, ...] = ()


class NameBook(Protocol):
    """The names of one store. Whatever it makes visible is here whole, and on stable storage."""

    async def take(self, records: Sequence[bytes]) -> list[Verdict]:
        """Take name records that others made, in this order; each is verified.

        A NAME is appended to the log when every block below its root is here: the caller has put
        them, and need not have synced. Until then it is kept, pending, over restarts. Forgets and
        shares wait for nothing. Raises TooManyWaiting, and what the store raises.
        """
        ...

    async def judge(self, records: Sequence[bytes]) -> list[Verdict]:
        """Say what `take` would do, with RECORDED for what it would append; nothing changes."""
        ...

    async def retry(self) -> list[Verdict]:
        """Look again at all that is pending, after blocks or keys have come; what it became."""
        ...

    def pending(self) -> list[Verdict]:
        """Return what waits, and what was refused lately, with the reasons as last looked at."""
        ...

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
        """Name a root whose blocks were put here, and return the name: signed, durable, visible.

        `user` is who owns it, as the channel says. `parent`: the full name that it came from; else
        the newest of this word and user. `whole`: roots that it may share blocks with; the check
        costs what differs from those of them that have names here. `past`: it was named then, and
        does not come before what was named later. Raises RootIncomplete, BadName,
        NoSuchName for a parent that is not visible, and what the store raises.
        """
        ...

    async def forget(self, text: str, *, user: str, comment: str = "", now_us: int) -> Named:
        """Take away the name that `text` means for its owner `user`; return what it was."""
        ...

    async def share(self, text: str, to: str, *, user: str, now_us: int) -> Named:
        """Let the user `to` (`*`: everybody) see a name of `user`; harmless when repeated."""
        ...

    async def unshare(self, text: str, to: str, *, user: str, now_us: int) -> Named:
        """Take back every share of a name of `user` with `to`; NoSuchName if there is none."""
        ...

    def find(self, text: str, user: str) -> Named:
        """Return what NAME, NAME~N, NAME@DATE, NAME.NONCE or the beginning of one means for `user`.

        Only what they own or was shared with them: NoSuchName, AmbiguousName, BadName otherwise.
        """
        ...

    def names(self, user: str | None = None) -> list[Named]:
        """Return what `user` may see, or everything that is visible, by time."""
        ...

    async def refresh(self) -> None:
        """See what other processes appended to the log, and what a killed one left undone."""
        ...
