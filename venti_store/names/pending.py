"""What is not in the log yet, kept over restarts: `scorenames.pending`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from lib9.faults import fault
from venti_store.names.folder import Folder
from venti_store.names.interfaces import State, Verdict
from venti_store.names.waiting import Waiting, bounded, format_waiting, parse_waiting

PENDING: Final = "scorenames.pending"


class Pending:
    """The file in a folder. Whoever changes it has the folder's lock."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def read(self) -> list[Waiting]:
        """Return what waits and what was refused lately, with the records."""
        return parse_waiting(self._folder.read(PENDING).decode(errors="surrogateescape"))

    async def keep(self, judged: Iterable[tuple[bytes, Verdict]]) -> None:
        """Keep what is not ready, with what was found of it now. Raises TooManyWaiting."""
        kept = {waiting.data: waiting for waiting in self.read()}
        before = dict(kept)
        for data, verdict in judged:
            if verdict.state in (State.PENDING, State.REFUSED):
                for each in parse_waiting(data.decode(errors="surrogateescape")):
                    if each.data == data:
                        kept[data] = Waiting(each.record, data, verdict)
        if kept != before:
            await self._write(list(kept.values()))

    async def let_go(self, done: Callable[[Waiting], bool]) -> None:
        """Let go of what is in the log now."""
        waiting = self.read()
        left = [each for each in waiting if not done(each)]
        if len(left) != len(waiting):
            await self._write(left)

    async def _write(self, waiting: list[Waiting]) -> None:
        await self._folder.replace(PENDING, format_waiting(bounded(waiting)).encode())
        fault("names.pending-written")
