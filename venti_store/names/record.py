"""The bytes of a name record: one line of an ndb file, in exactly one form. Pure.

A record is immutable. It names a root, takes a name away (`forget`), lets another user see one
(`share`) or no longer (`unshare`). NONCE and the ids of shares are taken from the hash of the
unsigned line, so nobody has to agree with anybody on them. `FIELDS` is the whole format.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, NamedTuple

from blake3 import blake3

from ndbdb.parser import pair_text, parse
from ndbdb.record import Pair
from venti_store.errors import BadScore
from venti_store.names.errors import BadName, BadNameRecord
from venti_store.names.words import (
    EVERYBODY,
    NONCE_DIGITS,
    TIME_MAX,
    check_name,
    check_user,
    format_time,
    parse_time,
    split_full,
)
from venti_store.score import Score, format_score, parse_score

RECORD_BYTES_MAX: Final = 16 << 10
COMMENT_BYTES_MAX: Final = 1024
REVOKES_MAX: Final = 256  # shares taken back by one record
SEQUENCE_MAX: Final = (1 << 63) - 1
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
KEY_PREFIX: Final = "ed25519:"

_ID = re.compile(rf"[0-9a-f]{{{NONCE_DIGITS}}}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")


class Action(StrEnum):
    """What a record does; the value is the attribute that it begins with."""

    NAME = "scorename"
    FORGET = "forget"
    SHARE = "share"
    UNSHARE = "unshare"


@dataclass(frozen=True, slots=True)
class Record:
    """What a name record says.

    `name` and `nonce` are those of the root's name, of which the other actions speak. `user` owns
    the name, or asks as its owner. `time` is in microseconds since 1970; `origin` the public key of
    the storage node that signed, `seq` its count of records, from 1. `score`, `parent` (the full
    name before) are of NAME only, `to` (a user, or `*`) of SHARE and UNSHARE, `revokes` (ids of
    shares) of UNSHARE.
    """

    action: Action
    name: str
    nonce: str
    user: str
    time: int
    origin: bytes
    seq: int
    score: Score | None = None
    to: str = ""
    revokes: tuple[str, ...] = ()
    parent: str = ""
    comment: str = ""

    @property
    def full(self) -> str:
        """`NAME.NONCE`."""
        return f"{self.name}.{self.nonce}"

    @property
    def id(self) -> str:
        """Digits of this record's own hash; of a NAME its nonce."""
        return nonce_of(self)


class Field(NamedTuple):
    """An attribute of a record: which field of `Record` it is, where it stands, what it may be."""

    attr: str
    field: str
    actions: frozenset[Action]
    form: Callable[[Any], str]
    parse: Callable[[str], Any]
    check: Callable[[Any], bool]
    meaning: str
    optional: bool = False  # absent when empty
    repeated: bool = False  # a tuple in `Record`


ALL: Final = frozenset(Action)
NAMING: Final = frozenset({Action.NAME})
SHARING: Final = frozenset({Action.SHARE, Action.UNSHARE})


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("not a number")
    return int(text)


def _bytes(text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise ValueError("not hex digits")
    return bytes.fromhex(text)


def _key(text: str) -> bytes:
    if not text.startswith(KEY_PREFIX):
        raise ValueError("not a public key")
    return _bytes(text.removeprefix(KEY_PREFIX))


def _is_user(user: object) -> bool:
    return bool(check_user(str(user)))


def is_comment(text: str) -> bool:
    """Tell whether a record can carry this comment: printable, without a double quote, not too long."""
    size = len(text.encode(errors="surrogatepass"))
    return text.isprintable() and '"' not in text and size <= COMMENT_BYTES_MAX


FIELDS: Final = (
    Field(
        "rootscore", "score", NAMING,
        format_score, parse_score, lambda v: isinstance(v, bytes) and len(v) in (20, 32),
        "the root's score",
    ),
    Field(
        "with", "to", SHARING,
        str, str, lambda v: v == EVERYBODY or _is_user(v),
        "the user it is shared with or no longer; `*`: everybody",
    ),
    Field(
        "revokes", "revokes", frozenset({Action.UNSHARE}),
        str, str, lambda v: bool(_ID.fullmatch(str(v))),
        f"id of a share that is taken back; 1 to {REVOKES_MAX} of them", repeated=True,
    ),
    Field(
        "user", "user", ALL,
        str, str, _is_user,
        "who owns the name, as the storage node knows by its channel",
    ),
    Field(
        "time", "time", ALL,
        format_time, parse_time, lambda v: isinstance(v, int) and 0 <= v <= TIME_MAX,
        "when, in UTC to the microsecond; later than that of the name before",
    ),
    Field(
        "origin", "origin", ALL,
        lambda v: KEY_PREFIX + v.hex(), _key, lambda v: isinstance(v, bytes) and len(v) == KEY_BYTES,
        "public key of the storage node that signed",
    ),
    Field(
        "seq", "seq", ALL,
        str, _number, lambda v: isinstance(v, int) and 1 <= v <= SEQUENCE_MAX,
        "count of the records of that node, from 1",
    ),
    Field(
        "parent", "parent", NAMING,
        str, str, lambda v: split_full(str(v)) is not None,
        "the full name that this one came from", optional=True,
    ),
    Field(
        "comment", "comment", ALL,
        str, str, lambda v: is_comment(str(v)),
        f"what its maker says of it, up to {COMMENT_BYTES_MAX} bytes", optional=True,
    ),
)  # fmt: skip
SIGNATURE_ATTR: Final = "sig"


def unsigned(record: Record) -> bytes:
    """Return the line without signature and newline. BadNameRecord for what no record may say."""
    return _line(record, record.full)


def nonce_of(record: Record) -> str:
    """Return the digits that this record's own content gives it; `record.nonce` of a NAME is ignored."""
    first = record.name if record.action is Action.NAME else record.full
    return blake3(_line(record, first)).hexdigest(NONCE_DIGITS // 2)


def named(record: Record) -> Record:
    """Return a NAME record with the nonce that follows from it."""
    values = {f.name: getattr(record, f.name) for f in fields(record)}
    return Record(**{**values, "nonce": nonce_of(record)})


def pack(record: Record, signature: bytes) -> bytes:
    """Return the whole line; BadNameRecord for a nonce that is not its own, or out of bounds."""
    if len(signature) != SIGNATURE_BYTES:
        raise BadNameRecord(f"{record.full}: signature of {len(signature)} bytes")
    body = unsigned(record)
    _check_nonce(record, body)
    line = body + _signature_text(signature)
    assert len(line) <= RECORD_BYTES_MAX, "the bounds of all fields together are lower"
    return line


def body_of(data: bytes) -> bytes:
    """Return what the signature of a whole line is over."""
    return data[: -len(_signature_text(bytes(SIGNATURE_BYTES)))]


def _signature_text(signature: bytes) -> bytes:
    return f" {SIGNATURE_ATTR}={signature.hex()}\n".encode()


def _check_nonce(record: Record, body: bytes) -> None:
    if record.action is not Action.NAME:
        return
    start = len(record.action) + 1 + len(record.full.encode())
    nameless = f"{record.action}={record.name}".encode() + body[start:]
    if blake3(nameless).hexdigest(NONCE_DIGITS // 2) != record.nonce:
        raise BadNameRecord(f"{record.full}: the nonce does not follow from the record")


def unpack(data: bytes) -> tuple[Record, bytes]:
    """Return the record and its signature, which is not verified here.

    BadNameRecord for everything but exactly the bytes that `pack` would give.
    """
    if len(data) > RECORD_BYTES_MAX:
        raise BadNameRecord(f"name record of {len(data)} bytes, {RECORD_BYTES_MAX} at most")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadNameRecord("name record: not UTF-8") from None
    records = list(parse(text))
    if len(records) != 1 or len(records[0].lines) != 1:
        raise BadNameRecord("name record: not one line")
    record, signature = _of_pairs(list(records[0].lines[0].pairs))
    if pack(record, signature) != data:
        raise BadNameRecord(f"{record.full}: not in the form that records have")
    return record, signature


def _of_pairs(pairs: list[Pair]) -> tuple[Record, bytes]:
    first, *rest = pairs
    if first.attr not in set(Action):
        raise BadNameRecord(f"name record: does not begin with {', '.join(Action)}")
    parts = split_full(first.value)
    if parts is None:
        raise BadNameRecord(f"name record: {first.value[:80]!r} is not the full name of a root")
    values: dict[str, list[str]] = {}
    for pair in rest:
        values.setdefault(pair.attr, []).append(pair.value)
    action = Action(first.attr)
    found: dict[str, object] = {}
    for field in FIELDS:
        if action in field.actions and field.attr in values:
            texts = values.pop(field.attr)
            try:
                parsed = [field.parse(text) for text in texts]
            except (ValueError, BadScore) as why:
                raise BadNameRecord(f"{first.value}: {field.attr}: {why}") from None
            found[field.field] = tuple(parsed) if field.repeated else parsed[0]
        elif action in field.actions and not field.optional:
            raise BadNameRecord(f"{first.value}: no {field.attr}")
    try:
        signature = _bytes(values.pop(SIGNATURE_ATTR, [""])[0])
    except ValueError as why:
        raise BadNameRecord(f"{first.value}: {SIGNATURE_ATTR}: {why}") from None
    if values:
        raise BadNameRecord(f"{first.value}: {next(iter(values))[:40]!r} does not belong there")
    record = Record(action=action, name=parts[0], nonce=parts[1], **found)  # type: ignore[arg-type]
    return record, signature


def _line(record: Record, first: str) -> bytes:
    pairs = [pair_text(Pair(record.action, first))]
    try:
        check_name(record.name)
        for field in FIELDS:
            value = getattr(record, field.field)
            empty = value in ("", (), None)
            if record.action not in field.actions or (field.optional and empty):
                if not empty:
                    raise BadNameRecord(f"{record.full}: {field.attr} does not belong there")
                continue
            several = value if field.repeated else (value,)
            if not 1 <= len(several) <= REVOKES_MAX or not all(map(field.check, several)):
                raise BadNameRecord(f"{record.full}: {field.attr} cannot be {value!r}"[:200])
            pairs += [pair_text(Pair(field.attr, field.form(each))) for each in several]
    except BadName as why:
        raise BadNameRecord(str(why)) from None
    return " ".join(pairs).encode()
