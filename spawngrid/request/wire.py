"""The messages of the request service and their bytes, said once.

A client asks, the node answers with any number of Says and then one Done or Failed; one request at a
time. `mark` is the client's own name for a request: asked again after a lost connection, it is not
carried out again, and what was said of it is said again. A body is a code (u8) and the fields in
order, behind its size (u32). Integers are unsigned and big-endian.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lib9.fields import STRING, U8, U32, VAR, Many
from spawngrid.messages import Layout, Table

VERSION: Final = 1
BODY_SIZE_MAX: Final = 64 << 10
MARK_SIZE: Final = 16  # bytes, random
SERVICE: Final = "request"
ENROL_SERVICE: Final = "enrol"


@dataclass(frozen=True, slots=True)
class Ask:
    """Do this: the words of a command."""

    version: int
    mark: bytes
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Queued:
    """It is kept under this id, whatever happens to the connection."""

    request: str


@dataclass(frozen=True, slots=True)
class Says:
    """One line of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """It was done."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It was not done, and why; `status` is the exit status that the fact has."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Enrol:
    """I am the holder of this Ed25519 key, and was given this token."""

    version: int
    public: bytes
    token: str
    dial: str  # where we listen, if we are a node


@dataclass(frozen=True, slots=True)
class Enrolled:
    """You are known now, under this name; here are the records that you need."""

    name: str
    records: tuple[str, ...]


Message = Ask | Queued | Says | Done | Failed | Enrol | Enrolled


TABLE: Final[Table[Message]] = Table(
    {
        Ask: Layout(1, (U32, VAR, Many(STRING))),
        Queued: Layout(2, (STRING,)),
        Says: Layout(3, (STRING,)),
        Done: Layout(4),
        Failed: Layout(5, (U8, STRING)),
        Enrol: Layout(6, (U32, VAR, STRING, STRING)),
        Enrolled: Layout(7, (STRING, Many(STRING))),
    },
    BODY_SIZE_MAX,
)
