"""Sizes, durations and counts as people write them; nothing else parses units."""

import re

from lib9.errors import UsageError

_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_SECONDS = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|)", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes that `text` means: `100M`, `64KiB`, `1.5g`, `4096`. Units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a size: {text!r}")
    return int(float(match[1]) * _FACTORS[match[2].lower()])


def format_size(size: int) -> str:
    """Return `size` bytes with three digits or so: `0 B`, `4.0 KiB`, `1.5 GiB`."""
    if abs(size) < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if abs(value) < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} PiB"


def format_count(count: int, one: str, several: str = "", *, commas: bool = True) -> str:
    """Return so many of something: `1 name`, `1,234 names`; `several` where it is not `one` and an s.

    Without `commas`, for what programs cut into fields: `1234 names`.
    """
    digits = f"{count:,}" if commas else str(count)
    return f"{digits} {one if count == 1 else several or one + 's'}"


def parse_duration(text: str) -> float:
    """Return the seconds that `text` means: `5s`, `250ms`, `2h`, `1.5`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a duration: {text!r}")
    return float(match[1]) * _SECONDS[match[2]]
