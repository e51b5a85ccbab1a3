"""The lines of cpu.in: what a storage node tells its cpu nodes. Pure.

fetch ID NAME USER SCORE node=N as=ALIAS key=KEY [disk=BYTES|ram=BYTES] [network=..]
[limits=none] [memory=BYTES] [cpus=N] [pids=N]
save ID ENVIRONMENT node=N
boom ID ENVIRONMENT node=N
admit ID ENVIRONMENT node=N users=USER/KEY,USER/KEY
who
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spawngrid.errors import BadWord
from spawngrid.hubtexts.words import Line, check_user_or_node, parse_line
from spawngrid.request.ids import is_id


@dataclass(frozen=True, slots=True)
class Who:
    """Every cpu node says that it is here."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Start an environment of USER from a root; it has the id of the request."""

    id: str
    name: str
    user: str
    score: str
    node: str
    alias: str
    key: str
    options: Mapping[str, str]

    @property
    def request(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Save:
    request: str
    environment: str
    node: str


@dataclass(frozen=True, slots=True)
class Boom:
    """End an environment and all that is its. That there is none is as good."""

    request: str
    environment: str
    node: str


@dataclass(frozen=True, slots=True)
class Admit:
    """Let these users in, known by these keys, and nobody else."""

    request: str
    environment: str
    users: tuple[tuple[str, str], ...]
    node: str


Asked = Who | Fetch | Save | Boom | Admit


def parse(text: str) -> Asked:
    """Return what a line asks for; BadWord."""
    line = parse_line(text)
    if (line.verb, line.words) == ("who", ()):
        return Who()
    shapes = {"fetch": (4, _fetch), "save": (2, _save), "boom": (2, _boom), "admit": (2, _admit)}
    count, make = shapes.get(line.verb, (-1, _save))
    if len(line.words) != count or not is_id(line.words[0]):
        raise BadWord(f"{text[:80]!r}: no line for a cpu node")
    if line.verb != "fetch" and not is_id(line.words[1]):
        raise BadWord(f"{line.words[1][:40]!r} is no id")
    try:
        return make(line)
    except KeyError as missing:
        raise BadWord(f"{line.verb}: {missing.args[0]}= is missing") from None


def _fetch(line: Line) -> Asked:
    pairs = dict(line.pairs)
    node, alias, key = pairs.pop("node"), pairs.pop("as"), pairs.pop("key")
    request, name, user, score = line.words
    return Fetch(
        request, name, check_user_or_node(user), score, node, check_user_or_node(alias), key, pairs
    )


def _save(line: Line) -> Asked:
    request, environment = line.words
    return Save(request, environment, line.pairs["node"])


def _boom(line: Line) -> Asked:
    request, environment = line.words
    return Boom(request, environment, line.pairs["node"])


def _admit(line: Line) -> Asked:
    request, environment = line.words
    users = [text.partition("/") for text in line.pairs["users"].split(",") if text]
    found = tuple((check_user_or_node(user), key) for user, _, key in users)
    return Admit(request, environment, found, line.pairs["node"])


def users_text(users: Iterable[tuple[str, str]]) -> str:
    """Return the value of `users=` of an `admit` line."""
    return ",".join(f"{user}/{key}" for user, key in users)
