"""Where a name probably is between two others, if names are spread evenly as the numbers they are.

Names of large directories are mostly counted or hashed: digits, hexadecimal digits or letters behind
one beginning. Each position is a digit of the narrowest alphabet that has all three names' bytes.
"""

from typing import Final

POSITIONS_MAX: Final = 12  # behind the common beginning; more tell nothing of where to look
_ALPHABETS: Final = (b"0123456789", b"0123456789abcdef", b"abcdefghijklmnopqrstuvwxyz")
_RANKS: Final = [{byte: rank for rank, byte in enumerate(alphabet)} for alphabet in _ALPHABETS]
_RANKS_OF_ALL: Final = {byte: byte for byte in range(256)}


def guess(name: bytes, low: bytes, high: bytes) -> float:
    """Return how far `name` is on the way from `low` to `high`: from 0 to 1.

    `low` <= `name` < `high`, bytewise; so all begin with what `low` and `high` have in common.
    """
    start = 0
    while start < len(low) and low[start] == high[start]:
        start += 1
    here = first = last = 0
    for position in range(start, start + POSITIONS_MAX):
        digits = [one[position] if position < len(one) else None for one in (name, low, high)]
        ranks = _narrowest(digits)
        # a name that has ended goes on with the lowest digit
        mine, lowest, highest = (0 if digit is None else ranks[digit] for digit in digits)
        here, first, last = (
            here * len(ranks) + mine,
            first * len(ranks) + lowest,
            last * len(ranks) + highest,
        )
    return (here - first) / (last - first) if last > first else 0.5


def _narrowest(digits: list[int | None]) -> dict[int, int]:
    for ranks in _RANKS:
        if all(digit is None or digit in ranks for digit in digits):
            return ranks
    return _RANKS_OF_ALL
