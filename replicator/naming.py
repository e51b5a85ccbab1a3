"""Which name records are accepted here: those that known nodes signed."""

from __future__ import annotations

from collections.abc import Callable

from replicator.interfaces import Named
from venti_store.names.signing import Trust


class SignedNames:
    """NameRules by signature. `trust` is asked each time, so changes count at once."""

    def __init__(self, trust: Callable[[], Trust]) -> None:
        self._trust = trust

    def __call__(self, record: bytes) -> Named:
        """Return what the record says; BadNameRecord, BadSignature or UnknownOrigin."""
        accepted = self._trust().accept(record).record
        return Named(accepted.full, accepted.score)
