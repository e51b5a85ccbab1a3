"""Which name records are accepted here: those that known nodes signed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from replicator.interfaces import Named
from venti_store.names.signing import Trust

DIGEST_BYTES: Final = 8


class SignedNames:
    """NameRules by signature. `trust` is asked each time, so changes count at once."""

    def __init__(self, trust: Callable[[], Trust]) -> None:
        self._trust = trust

    def accepts(self) -> str:
        """Return a digest of whose names are accepted now."""
        origins = b"".join(sorted(self._trust().origins))
        return hashlib.blake2s(origins, digest_size=DIGEST_BYTES).hexdigest()

    def __call__(self, record: bytes) -> Named:
        """Return what the record says; BadNameRecord, BadSignature or UnknownOrigin."""
        accepted = self._trust().accept(record).record
        return Named(accepted.full, accepted.score)
