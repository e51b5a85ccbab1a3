"""Whether a name may be appended: who signed it, and whether all of its root is here.

What a peer says of its own log proves nothing. A root is looked at where it differs from roots that
are known to be whole: the last of the same name, and the last ones that were judged.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final

from lib9.errors import SpawngridError
from replicator.actions import Judgement
from replicator.interfaces import NameRules
from venti_store.errors import CorruptBlock, NoSuchBlock
from venti_store.hashtree.closure import Hole, holes_below
from venti_store.interfaces import BlockReader, Key, LogRecord
from venti_store.names.errors import UnknownOrigin
from venti_store.score import Score

WHOLE_MAX: Final = 1 << 16  # roots remembered to be whole: about 8 MB
WORDS_MAX: Final = 4096  # names of which the last root is remembered
LATEST_MAX: Final = 4  # of other names, for one that is new


class Judge:
    """Judges names by the blocks of one store."""

    def __init__(self, store: BlockReader, rules: NameRules) -> None:
        self._store, self._rules = store, rules
        self._whole: OrderedDict[Score, None] = OrderedDict()
        self._by_word: OrderedDict[str, Score] = OrderedDict()
        self._latest: deque[Score] = deque(maxlen=LATEST_MAX)

    async def judge(self, names: Sequence[LogRecord]) -> list[Judgement]:
        """Judge names in the order of their log. Raises as the store does."""
        return [await self._one(record.data) for record in names]

    def note_whole(self, word: str, root: Score) -> None:
        """Remember that all of a root is here."""
        for table, key, value, most in (
            (self._whole, root, None, WHOLE_MAX),
            (self._by_word, word, root, WORDS_MAX),
        ):
            table[key] = value  # type: ignore[index,assignment]
            table.move_to_end(key)  # type: ignore[arg-type]
            if len(table) > most:
                table.popitem(last=False)
        if root not in self._latest:
            self._latest.append(root)

    async def _one(self, data: bytes) -> Judgement:
        try:
            named = self._rules(data)
        except SpawngridError as error:
            return Judgement(refused=str(error), stranger=isinstance(error, UnknownOrigin))
        if named.root is None or named.root in self._whole:
            return Judgement()
        if len(named.root) != self._store.family.size:
            return Judgement(refused=f"{named.label}: its root is of another hash")
        word = named.label.rpartition(".")[0]
        beside = {self._by_word[word]} if word in self._by_word else set(self._latest)
        holes = await holes_below(self._store, named.root, beside)
        if not holes:
            self.note_whole(word, named.root)
            return Judgement()
        for hole in holes:
            if await self._is_good(hole):
                return Judgement(refused=f"{named.label}: {hole.why}")
        return Judgement(missing=tuple(dict.fromkeys(hole.key for hole in holes)))

    async def _is_good(self, hole: Hole) -> bool:
        """Tell whether the block is here and good: then it is the tree that makes no sense."""
        try:
            await self._store.get_many([Key(*hole.key)])
        except (NoSuchBlock, CorruptBlock):
            return False
        return True


class Honest:
    """Judges the names of our own log, which were judged when they came into it."""

    async def judge(self, names: Sequence[LogRecord]) -> list[Judgement]:
        """Say that all are complete."""
        return [Judgement() for _ in names]
