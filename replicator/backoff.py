"""How long to wait before the next attempt. Pure: chance comes from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SECONDS_MIN: Final = 0.25
SECONDS_MAX: Final = 60.0  # a peer that comes back is noticed within this


class Backoff:
    """Doubles with each failure, less a chance of up to half, so that not all come at once."""

    def __init__(self, chance: Callable[[], float], *, seconds_max: float = SECONDS_MAX) -> None:
        """`chance` gives numbers from 0 to 1."""
        self._chance = chance
        self._seconds_max = seconds_max
        self._seconds = 0.0

    def failed(self) -> float:
        """Return the seconds to wait after one more failure."""
        self._seconds = min(max(2 * self._seconds, SECONDS_MIN), self._seconds_max)
        return self._seconds * (1 - self._chance() / 2)

    def worked(self) -> None:
        """Begin anew: something got done."""
        self._seconds = 0.0
