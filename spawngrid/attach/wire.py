"""The messages of the attach service and their bytes, said once.

A client opens a session: a command in an environment, with three streams or with a terminal. Both
sides count the bytes of what they send and keep them until the other has them, so that a session
goes on where it was when its client comes back on a new connection and resumes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lib9.fields import REST, STRING, U8, U32, U64, VAR, Counted, Many, Record
from lib9.framing import Buffer
from spawngrid.messages import Layout, Table

VERSION: Final = 1
SERVICE: Final = "attach"
CONSOLE_SERVICE: Final = "console"
DATA_SIZE_MAX: Final = 64 << 10  # bytes of a stream in one message
BODY_SIZE_MAX: Final = 512 << 10
WORD: Final = Counted(4, 128 << 10)  # an argument, or the value of a variable
SESSION_SIZE: Final = 16  # bytes that name a session: random, known to its client only
KEPT_SIZE_MAX: Final = 1 << 20  # bytes on their way, in each direction

RUN, TERMINAL, CONSOLE, PROCESSES = 0, 1, 2, 3  # kinds of session
OUT, ERR = 1, 2  # streams


@dataclass(frozen=True, slots=True)
class Variable:
    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Open:
    """Begin a session: `environment` is an id. No arguments: a shell. Sizes are of a terminal."""

    version: int
    session: bytes
    environment: str
    kind: int
    arguments: tuple[bytes, ...]
    variables: tuple[Variable, ...]
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with a session, of whose output `seen` bytes have come."""

    version: int
    session: bytes
    seen: int


@dataclass(frozen=True, slots=True)
class Input:
    """What is typed; `position` is that of the first byte in the session."""

    position: int
    data: Buffer


@dataclass(frozen=True, slots=True)
class InputEnd:
    """There will be no more input."""


@dataclass(frozen=True, slots=True)
class Seen:
    """So many bytes of output have come."""

    position: int


@dataclass(frozen=True, slots=True)
class Resize:
    """The terminal has this size now."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the command."""

    number: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The session is there; of its input, `taken` bytes have come."""

    taken: int


@dataclass(frozen=True, slots=True)
class Taken:
    """So many bytes of input have come."""

    position: int


@dataclass(frozen=True, slots=True)
class Output:
    """What the command says, on its output or its errors; both count as one stream."""

    stream: int
    position: int
    data: Buffer


@dataclass(frozen=True, slots=True)
class Ended:
    """The command has ended, and all its output was sent."""

    status: int


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no such session, or none can be begun."""

    status: int
    text: str


Message = (
    Open | Resume | Input | InputEnd | Seen | Resize | Signal
    | Opened | Taken | Output | Ended | Failed
)  # fmt: skip

_VARIABLE = Record(Variable, (("name", WORD), ("value", WORD)))

TABLE: Final[Table[Message]] = Table(
    {
        Open: Layout(1, (U32, VAR, STRING, U8, Many(WORD), Many(_VARIABLE), U32, U32)),
        Resume: Layout(2, (U32, VAR, U64)),
        Input: Layout(3, (U64, REST)),
        InputEnd: Layout(4),
        Seen: Layout(5, (U64,)),
        Resize: Layout(6, (U32, U32)),
        Signal: Layout(7, (U8,)),
        Opened: Layout(16, (U64,)),
        Taken: Layout(17, (U64,)),
        Output: Layout(18, (U8, U64, REST)),
        Ended: Layout(19, (U8,)),
        Failed: Layout(20, (U8, STRING)),
    },
    BODY_SIZE_MAX,
)
