"""What a storage node knows of its grid: environments, cpu nodes, and the requests they work on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from lib9.errors import Exit, SpawngridError
from spawngrid.errors import BadWord
from spawngrid.hubtexts.to_cpu import users_text
from spawngrid.hubtexts.words import Line
from spawngrid.request.queue import Request
from spawngrid.settings.rules import Rules
from spawngrid.stosvc import asked
from spawngrid.stosvc.effects import Effect, End, Keep, Say, Tell
from spawngrid.stosvc.state import Environment, Names, Node

NODE_SECONDS_MAX: Final = 12.0  # that a request waits for a cpu node to appear


class NotFound(SpawngridError):
    """What was named is not there, or not this user's."""

    exit_code = Exit.NOT_FOUND


class NotNow(SpawngridError):
    """It cannot be done as things are now; the text says why."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, what it says, and when: seconds of a steady clock, and of the calendar."""

    request: Request
    line: Line
    now: float
    time: int

    @property
    def id(self) -> str:
        return self.request.id

    @property
    def user(self) -> str:
        return self.request.user

    def check_words(self, least: int, most: int, usage: str) -> None:
        """Raise BadWord with `usage` unless there are so many words; only a spawn has options."""
        line = self.line
        options = line.pairs and not line.verb.startswith("spawn")
        if options or not least <= len(line.words) <= most:
            raise BadWord(usage)


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
    """A request that no cpu node was there for."""

    request: Request
    since: float


class Grid:
    """The knowledge, and what is said of whom it belongs to."""

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
        self.key_of = key_of
        self.rules = rules
        self.environments = {e.id: e for e in environments}
        self.nodes: dict[str, Node] = {}
        self.pending: dict[str, Pending] = {}
        self.waiting: dict[str, Waiting] = {}
        self.begun = now

    def knows(self, request_id: str) -> bool:
        """Tell whether a request is being worked on."""
        return request_id in self.pending or request_id in self.waiting

    def here(self, now: float) -> list[Node]:
        """Return the cpu nodes that have said something lately."""
        return [node for node in self.nodes.values() if node.here(now)]

    # what belongs to whom

    def score(self, user: str, name: str) -> str:
        """Return what `name` means for `user`; BadWord, NotFound."""
        found = self.names.find(user, asked.check_name(name))
        if found is None:
            raise NotFound(f"{name} not found for {user}")
        return found.score

    def check_user(self, user: str) -> None:
        """NotFound if nobody is called so."""
        if self.key_of(user) is None:
            raise NotFound(f"{user}: no such user")

    def own(self, user: str, alias: str) -> Environment:
        """Return the environment that `user` calls `alias` and owns.

        Somebody else's is answered like one that is not there.
        """
        for environment in self.environments.values():
            if environment.user == user and environment.alias == alias:
                if environment.state == "booming":
                    continue
                return environment
        raise NotFound(f"{alias[:64]} not owned by {user}")

    def find(self, user: str, alias: str) -> Environment:
        """Return the environment that `user` may enter: one's own, or USER/ALIAS or ALIAS of others."""
        owner, slash, name = alias.rpartition("/")
        for environment in self.environments.values():
            if environment.state == "booming" or not may_enter(user, environment):
                continue
            if slash and (environment.user, environment.alias) == (owner, name):
                return environment
        if not slash:
            fit = [
                e
                for e in self.environments.values()
                if e.alias == alias and e.state != "booming" and may_enter(user, e)
            ]
            own = [e for e in fit if e.user == user]
            if len(own or fit) == 1:
                return (own or fit)[0]
            if fit:
                raise BadWord(f"{alias}: several are called so: say USER/{alias}")
        raise NotFound(f"{alias[:64]}: no such environment of {user}")

    def admission(self, request_id: str, environment: Environment) -> Line:
        """Return the line that says who may enter: whom this node knows of those who were let in."""
        names = dict.fromkeys((environment.user, *environment.invited))
        users = [(name, key) for name in names if (key := self.key_of(name)) is not None]
        pairs = {"node": environment.node, "users": users_text(users)}
        return Line("admit", (request_id, environment.id), pairs)

    # steps of an answer

    def tell(
        self, request: Request, environment: Environment, line: Line, now: float
    ) -> list[Effect]:
        """Have the environment's node do something for a request."""
        self.pending[request.id] = Pending(
            request, environment.id, line, environment.node, now, now
        )
        return [Tell(line)]

    def ready(self, request: Request, environment: Environment) -> list[Effect]:
        """Answer a spawn whose environment runs."""
        self.pending.pop(request.id, None)
        return [
            Say(request.id, f"{environment.alias} serving on cpu {environment.node}"),
            End(request.id),
        ]

    def keep(self, environment: Environment) -> Keep:
        """Let the record of an environment be this."""
        self.environments[environment.id] = environment
        return Keep(environment)


def may_enter(user: str, environment: Environment) -> bool:
    return user == environment.user or user in environment.invited


def boomed(request: Request, environment: Environment) -> list[Effect]:
    return [Say(request.id, f"{environment.alias} BOOMed"), End(request.id)]
