"""When snapshots are made and dropped: the words of `snaptime`, and what is due at a moment.

Pure: moments are nanoseconds since 1970; the local time is that of the process's zone.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lib9.errors import UsageError

MINUTES_MAX: Final = 10 * 365 * 24 * 60
_MINUTE_NS: Final = 60 * 1_000_000_000
_DAY_SECONDS: Final = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Schedule:
    """What `snaptime` says; None: never. `archive`: minutes since midnight, the others minutes."""

    archive: int | None = None
    every: int | None = None
    life: int | None = None

    def __str__(self) -> str:
        hour, minute = divmod(self.archive or 0, 60)
        archive = "none" if self.archive is None else f"{hour:02}{minute:02}"
        return f"-a {archive} -s {self.every or 'none'} -t {self.life or 'none'}"


def change(schedule: Schedule, said: Sequence[str]) -> Schedule:
    """Return a schedule changed by options `-a HHMM`, `-s MIN`, `-t MIN`, each or `none`; UsageError."""
    words = iter(said)
    for option in words:
        value = next(words, None)
        if option not in ("-a", "-s", "-t") or value is None:
            raise UsageError("snaptime: takes -a HHMM, -s MIN and -t MIN, or none for each")
        number = None if value == "none" else _number(option, value)
        field = {"-a": "archive", "-s": "every", "-t": "life"}[option]
        schedule = replace(schedule, **{field: number})
    return schedule


def _number(option: str, value: str) -> int:
    digits = value.isascii() and value.isdigit()
    if option == "-a":
        if digits and len(value) == 4 and int(value[:2]) < 24 and int(value[2:]) < 60:
            return int(value[:2]) * 60 + int(value[2:])
        raise UsageError(f"snaptime: -a {value}: a time of day is four digits, 0000 to 2359")
    return minutes(f"snaptime: {option}", value, least=1)


def minutes(what: str, value: str, *, least: int = 0) -> int:
    """Return a number of minutes; UsageError."""
    if value.isascii() and value.isdigit() and least <= int(value[:10]) <= MINUTES_MAX:
        return int(value)
    raise UsageError(f"{what} {value}: minutes are a number from {least} to {MINUTES_MAX}")


def is_snapshot_minute(schedule: Schedule, now_ns: int) -> bool:
    """Tell whether a snapshot is due in this minute: local ones are counted from midnight on."""
    if schedule.every is None:
        return False
    seconds = now_ns // 1_000_000_000
    local = seconds + time.localtime(seconds).tm_gmtoff
    return local // 60 % schedule.every == 0


def last_archive_ns(schedule: Schedule, now_ns: int) -> int | None:
    """Return when the last archival snapshot was due; None: there are none."""
    if schedule.archive is None:
        return None
    seconds = now_ns // 1_000_000_000
    for days in (0, 1):
        day = time.localtime(seconds - days * _DAY_SECONDS)
        clock = (*divmod(schedule.archive, 60), 0)
        due = int(time.mktime((*day[:3], *clock, 0, 0, -1)))
        if due <= seconds:
            return due * 1_000_000_000
    return None


def is_expired(schedule: Schedule, made_ns: int, now_ns: int) -> bool:
    """Tell whether a snapshot is older than `-t` says."""
    return schedule.life is not None and now_ns - made_ns > schedule.life * _MINUTE_NS


def minute_name(now_ns: int, taken: Collection[bytes]) -> bytes:
    """Return `yyyy/mmdd/hhmm` of a moment, `.1`, `.2` … behind it where that is taken."""
    return _free(time.strftime("%Y/%m%d/%H%M", time.localtime(now_ns // 1_000_000_000)), taken)


def day_names(moments_ns: Sequence[int]) -> Iterator[bytes]:
    """Give `yyyy/mmdd[.n]` of each moment, in their order, which should be the oldest first."""
    taken: set[bytes] = set()
    for moment in moments_ns:
        name = _free(time.strftime("%Y/%m%d", time.localtime(moment // 1_000_000_000)), taken)
        taken.add(name)
        yield name


def _free(name: str, taken: Collection[bytes]) -> bytes:
    count, full = 0, name.encode()
    while full in taken:
        count += 1
        full = f"{name}.{count}".encode()
    return full
