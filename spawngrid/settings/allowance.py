"""So much for each, and no more before the next turn. Pure: whose turns they are has the clock."""

from collections import Counter
from typing import Final

TURN_SECONDS: Final = 60.0  # of all who use this


class Allowance:
    """Counts what each has had in this turn. The names are few: of users whom a node knows."""

    def __init__(self, most: int) -> None:
        """`most` is for each in one turn."""
        self._most = most
        self._asked: Counter[str] = Counter()

    def take(self, who: str) -> bool:
        """Return whether `who` may have one more."""
        self._asked[who] += 1
        return self._asked[who] <= self._most

    def turn(self) -> dict[str, int]:
        """Begin the next turn; return who asked for more than there was, and for how many more."""
        asked, self._asked = self._asked, Counter()
        return {who: count - self._most for who, count in asked.items() if count > self._most}
