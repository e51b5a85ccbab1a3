"""Ids of requests and environments: 16 letters and digits that sort by time. Pure."""

import re
from typing import Final

ID_SIZE: Final = 16
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_DIGITS: Final = 10  # of 5 bits: milliseconds since 1970, until the year 37,000
_LUCK_BITS: Final = 5 * (ID_SIZE - _TIME_DIGITS)
_ID: Final = re.compile(f"[{_DIGITS}]{{{ID_SIZE}}}", re.ASCII)


def new_id(now_ns: int, luck: int, after: str = "") -> str:
    """Return an id of this time; `luck` tells nodes apart, `after` is the latest id made here.

    It sorts behind `after` also when the clock was set back.
    """
    number = now_ns // 1_000_000 << _LUCK_BITS | luck % (1 << _LUCK_BITS)
    if after:
        number = max(number, _number(after) + 1)
    return "".join(_DIGITS[number >> 5 * place & 31] for place in reversed(range(ID_SIZE)))


def is_id(text: str) -> bool:
    """Tell whether `text` can be an id."""
    return _ID.fullmatch(text) is not None


def _number(text: str) -> int:
    number = 0
    for digit in text:
        number = number << 5 | _DIGITS.index(digit)
    return number
