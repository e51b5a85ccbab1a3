"""The words that records and people use: names, users, times, and what is typed to mean a root. Pure.

A name may be typed into any shell and any script without quotes, and be a file name.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from lib9.errors import UsageError
from venti_store.errors import BadScore
from venti_store.names.errors import BadName
from venti_store.score import parse_score

NAME_BYTES_MAX: Final = 200  # leaves room for endings in file names made from it
USER_BYTES_MAX: Final = 64
NONCE_DIGITS: Final = 16
NONCE_PREFIX_MIN: Final = 3
TIME_MAX: Final = 253_402_300_799_999_999
"""Microseconds since 1970 at the end of the year 9999."""
SECOND_US: Final = 1_000_000
EVERYBODY: Final = "*"
"""In place of a user that a name is shared with."""

_NAME = re.compile(r"\w[\w.+-]*")
_FULL = re.compile(rf"(.+)\.([0-9a-f]{{{NONCE_DIGITS}}})")
_PREFIX = re.compile(rf"(.+)\.([0-9a-f]{{{NONCE_PREFIX_MIN},{NONCE_DIGITS}}})")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def check_name(name: str) -> str:
    """Return `name` if a root may be called so; BadName for what could mean something else."""
    if len(name.encode(errors="surrogateescape")) > NAME_BYTES_MAX:
        raise BadName(f"{name[:40]}…: a name has at most {NAME_BYTES_MAX} bytes")
    if not _is_word(name) or ".." in name or name.endswith("."):
        raise BadName(
            f"{name!r} cannot be a name: letters, digits and _ + - . only, a letter, digit or _ first,"
            " no .. and no . at the end"
        )
    if _FULL.fullmatch(name):
        raise BadName(f"{name} cannot be a name: it looks like the full name of one record")
    try:
        parse_score(name)
    except BadScore:
        return name
    raise BadName(f"{name} cannot be a name: it looks like a score")


def _is_word(name: str) -> bool:
    # one text for what looks the same: else two names could not be told apart
    return bool(_NAME.fullmatch(name)) and unicodedata.normalize("NFC", name) == name


def check_user(user: str) -> str:
    """Return `user` if somebody may be called so; BadName if not."""
    if len(user) > USER_BYTES_MAX or not _USER.fullmatch(user):
        raise BadName(
            f"{user[: USER_BYTES_MAX + 1]!r} cannot be a user: up to {USER_BYTES_MAX} letters, digits"
            " and _ . @ -"
        )
    return user


def split_full(full: str) -> tuple[str, str] | None:
    """Return the name and the nonce of `NAME.NONCE`; None for what is no full name."""
    match = _FULL.fullmatch(full)
    if match is None:
        return None
    try:
        return check_name(match[1]), match[2]
    except BadName:
        return None


def same_second(one: int, other: int) -> bool:
    """Tell whether two times are of one second: names in plain lines have no finer ones."""
    return one // SECOND_US == other // SECOND_US


def format_time(time: int) -> str:
    """Return the text of a time in microseconds since 1970, as records have it."""
    moment = _EPOCH + timedelta(microseconds=time)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{time % 1_000_000:06}Z"


def parse_time(text: str) -> int:
    """Return the time that `format_time` would write so; ValueError for anything else."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a time")
    time = (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    if not 0 <= time <= TIME_MAX:
        raise ValueError(f"{text} is before 1970")
    return time


def parse_moment(text: str) -> int:
    """Return the last microsecond of the day, or the moment, that a person wrote; UTC if not said.

    UsageError for what is no date.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a date (2026-01-31, 2026-01-31T23:59)") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    time = (moment - _EPOCH) // _MICROSECOND
    return time + 86_400_000_000 - 1 if _DAY.fullmatch(text) else time


@dataclass(frozen=True, slots=True)
class Reference:
    """What somebody typed to mean a root by name.

    `back`: so many before the newest. `until`: the newest not later than this time. `nonce`: the
    record whose nonce begins so, if nothing is called `text` itself.
    """

    text: str
    name: str
    back: int = 0
    until: int | None = None


_BACK = re.compile(r"(.+)~(\d{1,9})", re.ASCII | re.DOTALL)


def parse_reference(text: str) -> Reference:
    """Return what `NAME`, `NAME~N`, `NAME@DATE`, `NAME.NONCE` or the beginning of one asks for.

    UsageError for a date that is none; BadName for what nothing can be called.
    """
    if match := _BACK.fullmatch(text):
        reference = Reference(text, match[1], back=int(match[2]))
    elif "@" in text:
        name, _, date = text.partition("@")
        reference = Reference(text, name, until=parse_moment(date))
    else:
        reference = Reference(text, text)
    if split_full(reference.name) is None:
        check_name(reference.name)
    return reference


def split_prefix(text: str) -> tuple[str, str] | None:
    """Return the name and the first digits of a nonce that `NAME.DIGITS` may mean; None if none."""
    match = _PREFIX.fullmatch(text)
    return (match[1], match[2]) if match else None
