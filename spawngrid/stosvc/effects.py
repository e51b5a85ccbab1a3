"""What the dispatcher wants done, in order. Pure; the service carries it out."""

from dataclasses import dataclass

from lib9.errors import Exit
from spawngrid.hubtexts.words import Line
from spawngrid.stosvc.state import Environment


@dataclass(frozen=True, slots=True)
class Say:
    """A line of the answer to a request."""

    request: str
    text: str


@dataclass(frozen=True, slots=True)
class End:
    """A request is answered; `status` 0: it was done."""

    request: str
    status: Exit = Exit.OK
    text: str = ""


@dataclass(frozen=True, slots=True)
class Tell:
    """A line for cpu.in."""

    line: Line


@dataclass(frozen=True, slots=True)
class Keep:
    """The record of an environment is now this; on stable storage before what follows is done."""

    environment: Environment


@dataclass(frozen=True, slots=True)
class Forget:
    """The record of an environment goes."""

    environment: str


@dataclass(frozen=True, slots=True)
class Record:
    """`user`'s `name` means this score from now on; what follows is done only if that worked."""

    request: str
    user: str
    name: str
    score: str
    base: str  # what the environment was spawned from: only what differs is new


@dataclass(frozen=True, slots=True)
class Share:
    """`user` lets `other` use what `name` means now, or no longer."""

    request: str
    user: str
    other: str
    name: str
    on: bool


@dataclass(frozen=True, slots=True)
class Compare:
    """Say what differs between two trees, and end the request."""

    request: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Announce:
    """A line for everybody: sto.out."""

    text: str


@dataclass(frozen=True, slots=True)
class Complain:
    """Something for the operator: sto.err and the log."""

    text: str


Effect = Say | End | Tell | Keep | Forget | Record | Share | Compare | Announce | Complain
