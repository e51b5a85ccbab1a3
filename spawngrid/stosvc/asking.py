"""What follows from a request of a user. Pure; see `dispatch`, which hears the cpu nodes too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from lib9.errors import Exit, SpawngridError
from spawngrid.errors import BadWord
from spawngrid.hubtexts.to_cpu import users_text
from spawngrid.hubtexts.words import Line, check_user_or_node, line_of
from spawngrid.request.queue import Request
from spawngrid.settings.rules import Rules
from spawngrid.stosvc import asked
from spawngrid.stosvc.effects import (
    Compare,
    Effect,
    End,
    Forget,
    Keep,
    Say,
    Share,
    Tell,
)
from spawngrid.stosvc.state import Environment, Names, Node

RESEND_SECONDS: Final = 5.0
KEYS_SECONDS: Final = 5.0  # between looks at whether those who may enter are still known
NODE_SECONDS_MAX: Final = 12.0  # that a request waits for a cpu node to appear
SILENT_SECONDS_MAX: Final = 40.0  # that a request waits for a node that says nothing
LOST_SECONDS_MAX: Final = 86400  # that the record of a lost environment is kept for its user

USAGE: Final = (
    "scores [substr]",
    "spawn scorename [as=alias] [disk=size] [node=name] [limits]",
    "spawndisk scorename",
    "save env newname",
    "share user scorename",
    "unshare user scorename",
    "invite user env",
    "uninvite user env",
    "boom env",
    "status",
    "where env",
    "nodes",
    "log scorename",
    "diff scorename scorename",
    "whoami",
)


@dataclass(slots=True)
class Pending:
    """A request that a cpu node works on."""

    request: Request
    environment: str
    line: Line
    node: str
    since: float
    told: float


@dataclass(slots=True)
class Waiting:
    """A spawn that no cpu node was there for."""

    request: Request
    since: float


class Asking:
    """What a storage node knows, and its answers. `now` is in seconds of a steady clock."""

    def __init__(
        self,
        names: Names,
        key_of: Callable[[str], str | None],
        rules: Rules,
        environments: Iterable[Environment],
        *,
        now: float,
    ) -> None:
        """Begin with the records that are kept. `key_of` gives a user's public key, None for nobody."""
        self.names = names
        self.rules = rules
        self.environments = {e.id: e for e in environments}
        self.nodes: dict[str, Node] = {}
        self._key_of = key_of
        self._pending: dict[str, Pending] = {}
        self._waiting: dict[str, Waiting] = {}
        self._begun = now
        self._boomed_at: dict[str, float] = {}
        self._admitted: dict[str, str] = {}  # environment → who may enter, as its node said last
        self._looked_at_keys = -KEYS_SECONDS

    def start(self) -> list[Effect]:
        """Return what is done first: every cpu node is asked what it runs."""
        return [Tell(Line("who"))]

    def knows(self, request_id: str) -> bool:
        """Tell whether a request is being worked on."""
        return request_id in self._pending or request_id in self._waiting

    # --- requests

    def request(self, request: Request, *, now: float, time: int) -> list[Effect]:
        """Return what follows from a request of a user."""
        try:
            line = line_of(request.words)
            act = self._verbs().get(line.verb)
            if act is None:
                return [End(request.id, Exit.USAGE, "unknown command")]
            return act(request, line, now, time)
        except SpawngridError as error:
            return [End(request.id, error.exit_code, str(error))]

    def _verbs(self) -> dict[str, Callable[[Request, Line, float, int], list[Effect]]]:
        return {
            "scores": self._scores,
            "spawn": self._spawn,
            "spawndisk": self._spawn,
            "save": self._save,
            "savedisk": self._save,
            "share": self._share,
            "unshare": self._share,
            "invite": self._invite,
            "uninvite": self._uninvite,
            "boom": self._boom,
            "kill": self._boom,
            "status": self._status,
            "where": self._where,
            "nodes": self._nodes,
            "log": self._log,
            "diff": self._diff,
            "whoami": lambda request, _line, _now, _time: [
                Say(request.id, f"user={request.user}"),
                End(request.id),
            ],
            "help": lambda request, _line, _now, _time: [
                *(Say(request.id, usage) for usage in USAGE),
                End(request.id),
            ],
        }

    def _scores(self, request: Request, line: Line, _now: float, _time: int) -> list[Effect]:
        _count(line, 0, 1, "scores [SUBSTR]")
        part = line.words[0] if line.words else ""
        seen = [named for named in self.names.visible(request.user) if part in named.name]
        said: list[Effect] = [Say(request.id, named.name) for named in seen]
        return [*said, End(request.id)]

    def _log(self, request: Request, line: Line, _now: float, _time: int) -> list[Effect]:
        _count(line, 1, 1, "log SCORENAME")
        asked.check_name(line.words[0])
        name = line.words[0].partition("~")[0]
        found = [
            named
            for named in self.names.visible(request.user)
            if named.name == name or named.name.rpartition(".")[0] == name
        ]
        if not found:
            raise NotFound(f"{name} not found for {request.user}")
        said: list[Effect] = [
            Say(
                request.id,
                str(
                    Line(
                        f"name={named.name}",
                        (),
                        {"time": str(named.time), "node": named.node, "owner": named.owner},
                    )
                ),
            )
            for named in reversed(found)
        ]
        return [*said, End(request.id)]

    def _diff(self, request: Request, line: Line, _now: float, _time: int) -> list[Effect]:
        _count(line, 2, 2, "diff SCORENAME SCORENAME")
        old, new = (self._score(request.user, name) for name in line.words)
        return [Compare(request.id, old, new)]

    def _share(self, request: Request, line: Line, _now: float, _time: int) -> list[Effect]:
        _count(line, 2, 2, f"{line.verb} USER SCORENAME")
        other, name = line.words
        if self._key_of(check_user_or_node(other)) is None:
            raise NotFound(f"{other}: no such user")
        self._score(request.user, name)
        said = f"{name} {line.verb}d with {other}"
        return [
            Share(request.id, request.user, other, name, line.verb == "share"),
            Say(request.id, said),
            End(request.id),
        ]

    def _spawn(self, request: Request, line: Line, now: float, time: int) -> list[Effect]:
        known = self.environments.get(request.id)
        if known is not None:
            return self._spawn_again(request, known, now)
        _count(line, 1, 1, f"{line.verb} SCORENAME")
        pairs = dict(line.pairs)
        if line.verb == "spawndisk":
            pairs.setdefault("disk", asked.DISK_DEFAULT)
        options = asked.spawn_options(pairs, self.rules)
        alias = asked.alias_of(line.words[0], pairs)
        mine = [e for e in self.environments.values() if e.user == request.user]
        if any(e.alias == alias and e.state != "booming" for e in mine):
            return [
                Say(request.id, f"{alias} is already being served for {request.user}"),
                Say(request.id, "use as=ALIAS for another of the same name"),
                End(request.id, Exit.FAILED, f"{alias} is already being served"),
            ]
        if sum(1 for e in mine if e.state != "lost") >= self.rules.spawn_max:
            raise NotNow("spawn limit reached")
        score = self._score(request.user, line.words[0])
        node = self._choose(pairs.get("node"), asked.memory_of(options), now)
        if node is None:
            return self._wait_for_node(request, pairs.get("node"), now)
        self._waiting.pop(request.id, None)
        environment = Environment(
            request.id,
            request.user,
            alias,
            line.words[0],
            score,
            node.name,
            "starting",
            time,
            options,
        )
        return [
            Say(request.id, "init fossil..."),
            self._keep(environment),
            *self._tell(request, environment, self._fetch(environment), now),
        ]

    def _spawn_again(self, request: Request, known: Environment, now: float) -> list[Effect]:
        """A spawn that was begun before this dispatcher was."""
        if known.state == "starting":
            return self._tell(request, known, self._fetch(known), now)
        if known.state in ("running", "ended"):
            return self._ready(request, known)
        return [End(request.id, Exit.FAILED, known.reason or f"{known.name} spawn failed")]

    def _wait_for_node(self, request: Request, wanted: str | None, now: float) -> list[Effect]:
        waiting = self._waiting.setdefault(request.id, Waiting(request, now))
        if now - waiting.since < NODE_SECONDS_MAX:
            return []
        del self._waiting[request.id]
        if wanted is not None:
            raise NotNow(f"cpu {wanted} is not here")
        raise NotNow("no cpu node has room" if self._here(now) else "no cpu node is here")

    def _choose(self, wanted: str | None, memory: int, now: float) -> Node | None:
        """Return the cpu node with the most free memory, less what was promised on it."""
        free: dict[str, int] = {node.name: node.free for node in self._here(now)}
        for environment in self.environments.values():
            if environment.state == "starting" and environment.node in free:
                free[environment.node] -= asked.memory_of(environment.options)
        if wanted is not None:
            return self.nodes[wanted] if wanted in free else None
        fit = [name for name, bytes_free in free.items() if bytes_free >= memory]
        return self.nodes[max(fit, key=lambda name: (free[name], name))] if fit else None

    def _here(self, now: float) -> list[Node]:
        return [node for node in self.nodes.values() if node.here(now)]

    def _fetch(self, environment: Environment) -> Line:
        pairs = {
            "node": environment.node,
            "as": environment.alias,
            "key": self._key_of(environment.user) or "",
            **environment.options,
        }
        words = (environment.id, environment.name, environment.user, environment.score)
        return Line("fetch", words, pairs)

    def _save(self, request: Request, line: Line, now: float, _time: int) -> list[Effect]:
        _count(line, 2, 2, f"{line.verb} ENV NEWNAME")
        asked.check_new_name(line.words[1])
        environment = self._own(request.user, line.words[0])
        if environment.state not in ("running", "ended"):
            raise NotNow(f"{environment.alias} is {environment.state}")
        words = (request.id, environment.id)
        return self._tell(request, environment, Line("save", words, _node(environment)), now)

    def _invite(self, request: Request, line: Line, now: float, _time: int) -> list[Effect]:
        _count(line, 2, 2, "invite USER ENV")
        other = check_user_or_node(line.words[0])
        environment = self._own(request.user, line.words[1])
        if self._key_of(other) is None:
            raise NotFound(f"{other}: no such user")
        invited = tuple(dict.fromkeys((*environment.invited, other)))
        return self._admit(request, replace(environment, invited=invited), now)

    def _uninvite(self, request: Request, line: Line, now: float, _time: int) -> list[Effect]:
        _count(line, 2, 2, "uninvite USER ENV")
        other = check_user_or_node(line.words[0])
        environment = self._own(request.user, line.words[1])
        left = tuple(user for user in environment.invited if user != other)
        return self._admit(request, replace(environment, invited=left), now)

    def _admit(self, request: Request, environment: Environment, now: float) -> list[Effect]:
        keep = self._keep(environment)
        return [
            keep,
            *self._tell(request, environment, self._admission(request.id, environment), now),
        ]

    def _admission(self, request_id: str, environment: Environment) -> Line:
        """Return the line that says who may enter: whom this node knows of those who were let in."""
        names = dict.fromkeys((environment.user, *environment.invited))
        users = [(name, key) for name in names if (key := self._key_of(name)) is not None]
        pairs = {"node": environment.node, "users": users_text(users)}
        return Line("admit", (request_id, environment.id), pairs)

    def _boom(self, request: Request, line: Line, now: float, _time: int) -> list[Effect]:
        _count(line, 1, 1, "boom ENV")
        environment = self._own(request.user, line.words[0])
        if environment.state == "lost" and environment.node not in self.nodes:
            self.environments.pop(environment.id, None)
            return [*boomed(request, environment), Forget(environment.id)]
        booming = replace(environment, state="booming")
        words = (request.id, environment.id)
        return [
            self._keep(booming),
            *self._tell(request, booming, Line("boom", words, _node(environment)), now),
        ]

    def _status(self, request: Request, line: Line, now: float, _time: int) -> list[Effect]:
        _count(line, 0, 1, "status [ENV]")
        out: list[Effect] = [Say(request.id, f"active grid namespaces for {request.user}")]
        for environment in sorted(self.environments.values(), key=lambda e: e.id):
            if not _may_enter(request.user, environment):
                continue
            if line.words and environment is not self._find(request.user, line.words[0]):
                continue
            out.append(Say(request.id, self._described(environment, now)))
        return [*out, End(request.id)]

    def _described(self, environment: Environment, now: float) -> str:
        node = self.nodes.get(environment.node)
        pairs = {
            "name": environment.name,
            "node": environment.node,
            "state": environment.state,
            "owner": environment.user,
            "time": str(environment.time),
            "here": str(int(node is not None and node.here(now))),
        }
        if environment.invited:
            pairs["invited"] = ",".join(environment.invited)
        return str(Line(f"env={environment.alias}", (), pairs))

    def _where(self, request: Request, line: Line, now: float, _time: int) -> list[Effect]:
        _count(line, 1, 1, "where ENV")
        environment = self._find(request.user, line.words[0])
        node = self.nodes.get(environment.node)
        if environment.state not in ("running", "ended"):
            raise NotNow(f"{environment.alias} is {environment.state}")
        if node is None and now - self._begun < NODE_SECONDS_MAX:
            self._waiting.setdefault(request.id, Waiting(request, now))
            return []  # a dispatcher that has just begun has not heard from the nodes
        self._waiting.pop(request.id, None)
        if node is None or not node.here(now):
            raise NotNow(f"cpu {environment.node} is not here")
        return [Say(request.id, str(_place(environment, node))), End(request.id)]

    def _nodes(self, request: Request, line: Line, now: float, _time: int) -> list[Effect]:
        _count(line, 0, 0, "nodes")
        said: list[Effect] = [
            Say(
                request.id,
                str(
                    Line(
                        f"node={node.name}",
                        (),
                        {
                            "here": str(int(node.here(now))),
                            "free": str(node.free),
                            "total": str(node.total),
                            "environments": str(len(node.environments)),
                        },
                    )
                ),
            )
            for _, node in sorted(self.nodes.items())
        ]
        return [*said, End(request.id)]

    # --- what belongs to whom

    def _score(self, user: str, name: str) -> str:
        found = self.names.find(user, asked.check_name(name))
        if found is None:
            raise NotFound(f"{name} not found for {user}")
        return found.score

    def _own(self, user: str, alias: str) -> Environment:
        """Return the environment that `user` calls `alias` and owns.

        Somebody else's is answered like one that is not there.
        """
        for environment in self.environments.values():
            if environment.user == user and environment.alias == alias:
                if environment.state == "booming":
                    continue
                return environment
        raise NotFound(f"{alias[:64]} not owned by {user}")

    def _find(self, user: str, alias: str) -> Environment:
        """Return the environment that `user` may enter: one's own, or USER/ALIAS or ALIAS of others."""
        owner, slash, name = alias.rpartition("/")
        for environment in self.environments.values():
            if environment.state == "booming" or not _may_enter(user, environment):
                continue
            if slash and (environment.user, environment.alias) == (owner, name):
                return environment
        if not slash:
            fit = [
                e
                for e in self.environments.values()
                if e.alias == alias and e.state != "booming" and _may_enter(user, e)
            ]
            own = [e for e in fit if e.user == user]
            if len(own or fit) == 1:
                return (own or fit)[0]
            if fit:
                raise BadWord(f"{alias}: several are called so: say USER/{alias}")
        raise NotFound(f"{alias[:64]}: no such environment of {user}")

    def _tell(
        self, request: Request, environment: Environment, line: Line, now: float
    ) -> list[Effect]:
        self._pending[request.id] = Pending(
            request, environment.id, line, environment.node, now, now
        )
        return [Tell(line)]

    def _ready(self, request: Request, environment: Environment) -> list[Effect]:
        self._pending.pop(request.id, None)
        return [
            Say(request.id, f"{environment.alias} serving on cpu {environment.node}"),
            End(request.id),
        ]

    def _keep(self, environment: Environment) -> Keep:
        self.environments[environment.id] = environment
        return Keep(environment)


class NotFound(SpawngridError):
    """What was named is not there, or not this user's."""

    exit_code = Exit.NOT_FOUND


class NotNow(SpawngridError):
    """It cannot be done as things are now; the text says why."""


def _count(line: Line, least: int, most: int, usage: str) -> None:
    if not least <= len(line.words) <= most or (line.pairs and not line.verb.startswith("spawn")):
        raise BadWord(usage)


def _may_enter(user: str, environment: Environment) -> bool:
    return user == environment.user or user in environment.invited


def _node(environment: Environment) -> dict[str, str]:
    return {"node": environment.node}


def _place(environment: Environment, node: Node) -> Line:
    pairs = {"env": environment.alias, "owner": environment.user, "node": node.name}
    return Line(f"environment={environment.id}", (), {**pairs, "dial": node.dial, "key": node.key})


def boomed(request: Request, environment: Environment) -> list[Effect]:
    return [Say(request.id, f"{environment.alias} BOOMed"), End(request.id)]
