"""What a server takes as a name record from others: who may write may still not name what is not here.

Whose signature it has is not looked at: names of unknown nodes are kept for those who know them, and are
not shown. But every name in a log has its blocks before it, and that is looked at here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from venti_store.hashtree.closure import holes_below
from venti_store.interfaces import BlockReader
from venti_store.names.errors import RootIncomplete
from venti_store.names.record import unpack
from venti_store.score import Score, format_score

WHOLE_MAX: Final = 4096  # roots remembered to be whole
BESIDE_MAX: Final = 4  # of them, the last ones, that a new root is compared with


class NameGate:
    """Lets the records pass that may be in the log of one store."""

    def __init__(self, store: BlockReader) -> None:
        self._store = store
        self._whole: OrderedDict[Score, None] = OrderedDict()

    async def __call__(self, data: bytes) -> None:
        """Return if the record may be appended; BadNameRecord, or RootIncomplete."""
        record, _ = unpack(data)
        root = record.score
        if root is None or root in self._whole:
            return
        if len(root) != self._store.family.size:
            raise RootIncomplete(f"{record.full}: its root is of another hash")
        beside = list(self._whole)[-BESIDE_MAX:]
        holes = await holes_below(self._store, root, beside, most=1)
        if holes:
            missing = format_score(holes[0].key.score)
            raise RootIncomplete(f"{record.full}: not all of its root is here: {missing}")
        self._whole[root] = None
        if len(self._whole) > WHOLE_MAX:
            self._whole.popitem(last=False)
