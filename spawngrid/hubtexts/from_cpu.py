"""The lines of cpu.out: what cpu nodes say. Pure.

    here NODE free=BYTES total=BYTES dial=ADDRESS key=KEY environments=ID:STATE,ID:STATE
    ready ID
    failed ID WHY...
    saved ID SCORE [pause=MS] [frozen=0]
    boomed ID
    admitted ID users=USER/KEY,USER/KEY

ID is that of the request, or for `ready` and `boomed` of the environment, which has the id of the
request that spawned it. WHY is text up to the end of the line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from spawngrid.errors import BadWord
from spawngrid.hubtexts.words import LINE_SIZE_MAX, Line, check_user_or_node, parse_line
from spawngrid.request.ids import is_id

WHY_SIZE_MAX = 500  # characters


@dataclass(frozen=True, slots=True)
class Here:
    node: str
    free: int
    total: int
    dial: str
    key: str
    environments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ready:
    environment: str


@dataclass(frozen=True, slots=True)
class Failed:
    request: str
    why: str


@dataclass(frozen=True, slots=True)
class Saved:
    request: str
    score: str
    pause: str = ""
    frozen: bool = True


@dataclass(frozen=True, slots=True)
class Boomed:
    environment: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """These may enter now, as `admit` has them."""

    request: str
    users: str = ""


Said = Here | Ready | Failed | Saved | Boomed | Admitted


def parse(text: str) -> Said:
    """Return what a line says; BadWord."""
    if text.startswith("failed "):
        _, request, why = (*text.split(" ", 2), "failed")[:3]
        return Failed(_id(request), "".join(c for c in why if c.isprintable())[:WHY_SIZE_MAX])
    line = parse_line(text)
    if line.verb == "here" and len(line.words) == 1:
        return _here(line)
    if line.verb in _SIMPLE and len(line.words) == 1:
        return _SIMPLE[line.verb](_id(line.words[0]))
    if line.verb == "admitted" and len(line.words) == 1:
        return Admitted(_id(line.words[0]), line.pairs.get("users", ""))
    if line.verb == "saved" and len(line.words) == 2:
        pause = line.pairs.get("pause", "")
        frozen = line.pairs.get("frozen", "1") != "0"
        return Saved(_id(line.words[0]), line.words[1], pause if pause.isdigit() else "", frozen)
    raise BadWord(f"{text[:80]!r}: no line of a cpu node")


_SIMPLE: Final[dict[str, Callable[[str], Said]]] = {
    "ready": Ready,
    "boomed": Boomed,
}


def format_here(here: Here) -> str:
    """Return the line that says this; environments that do not fit are a fault of the caller."""
    listed = ",".join(f"{i}:{state}" for i, state in here.environments.items())
    pairs = {
        "free": str(here.free),
        "total": str(here.total),
        "dial": here.dial,
        "key": here.key,
        "environments": listed,
    }
    text = str(Line("here", (here.node,), pairs))
    assert len(text) <= LINE_SIZE_MAX, "more environments than a node may have"
    return text


def _here(line: Line) -> Here:
    environments = {}
    for item in filter(None, line.pairs.get("environments", "").split(",")):
        environment, _, state = item.partition(":")
        environments[_id(environment)] = state
    try:
        free, total = int(line.pairs["free"]), int(line.pairs["total"])
        return Here(
            check_user_or_node(line.words[0]),
            free,
            total,
            line.pairs["dial"],
            line.pairs["key"],
            environments,
        )
    except (KeyError, ValueError):
        raise BadWord(f"{str(line)[:80]!r}: not all of a node is said") from None


def _id(text: str) -> str:
    if not is_id(text):
        raise BadWord(f"{text[:40]!r} is no id")
    return text
