"""What follows from a request, from a line of a cpu node, and from time. Pure.

Nothing here relies on a message having arrived: what is not answered is told again every
RESEND_SECONDS, cpu nodes do what they are told once, and the state of the environments comes from
what the nodes say they run. `request` may be called again with a request that was begun before a
crash: it is taken up where its records say it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lib9.errors import Exit, UsageError
from spawngrid.hubtexts import from_cpu
from spawngrid.hubtexts.to_cpu import users_text
from spawngrid.hubtexts.words import Line
from spawngrid.request.queue import Request
from spawngrid.stosvc import asking
from spawngrid.stosvc.effects import (
    Announce,
    Complain,
    Effect,
    End,
    Forget,
    Record,
    Say,
    Tell,
)
from spawngrid.stosvc.grid import Grid, Pending, boomed
from spawngrid.stosvc.state import Node

RESEND_SECONDS: Final = 5.0
KEYS_SECONDS: Final = 5.0  # between looks at whether those who may enter are still known
SILENT_SECONDS_MAX: Final = 40.0  # that a request waits for a node that says nothing
LOST_SECONDS_MAX: Final = 86400  # that the record of a lost environment is kept for its user


class Dispatcher:
    """The state machine of a storage node: requests, lines of cpu nodes, time.

    `now` is in seconds of a steady clock.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._boomed_at: dict[str, float] = {}
        self._admitted: dict[str, str] = {}  # environment → who may enter, as its node said last
        self._looked_at_keys = -KEYS_SECONDS

    def start(self) -> list[Effect]:
        """Return what is done first: every cpu node is asked what it runs."""
        return [Tell(Line("who"))]

    def knows(self, request_id: str) -> bool:
        """Tell whether a request is being worked on."""
        return self.grid.knows(request_id)

    def request(self, request: Request, *, now: float, time: int) -> list[Effect]:
        """Return what follows from a request of a user."""
        return asking.answer(self.grid, request, now=now, time=time)

    def cpu_said(self, text: str, *, now: float) -> list[Effect]:
        """Return what follows from a line of cpu.out; what makes no sense is told the operator."""
        try:
            said = from_cpu.parse(text)
        except UsageError as error:
            return [Complain(f"cpu.out: {error}")]
        match said:
            case from_cpu.Here():
                return self._node_here(said, now)
            case from_cpu.Ready():
                return self._node_ready(said)
            case from_cpu.Failed():
                return self._node_failed(said)
            case from_cpu.Saved():
                return self._node_saved(said)
            case from_cpu.Boomed():
                return self._node_boomed(said)
            case from_cpu.Admitted():
                return self._node_admitted(said)

    def _alias(self, pending: Pending) -> str:
        environment = self.grid.environments.get(pending.environment)
        return environment.alias if environment is not None else pending.environment

    def _node_here(self, said: from_cpu.Here, now: float) -> list[Effect]:
        known = self.grid.nodes.get(said.node)
        self.grid.nodes[said.node] = Node(
            said.node, said.free, said.total, said.dial, said.key, now, said.environments
        )
        effects: list[Effect] = []
        if known is None or not known.here(now):
            effects.append(Announce(f"cpu {said.node} is here"))
            for pending in self.grid.pending.values():
                if pending.node == said.node:
                    effects.append(Tell(pending.line))
                    pending.told = now
        effects += self._reconcile(said, now)
        for waiting in list(self.grid.waiting.values()):
            effects += self.request(waiting.request, now=now, time=_seconds_of(waiting.request))
            if any(isinstance(e, End) and e.request == waiting.request.id for e in effects):
                self.grid.waiting.pop(waiting.request.id, None)
        return effects

    def _reconcile(self, said: from_cpu.Here, now: float) -> list[Effect]:
        """Let the records agree with what a node runs."""
        effects: list[Effect] = []
        for environment in list(self.grid.environments.values()):
            if environment.node != said.node or environment.state == "starting":
                continue
            state = said.environments.get(environment.id)
            if environment.state == "booming":
                if state is None:
                    effects += self._node_boomed(from_cpu.Boomed(environment.id))
            elif state is None and environment.state != "lost":
                reason = f"no longer on {said.node}"
                effects.append(self.grid.keep(replace(environment, state="lost", reason=reason)))
            elif state in ("running", "ended") and state != environment.state:
                effects.append(self.grid.keep(replace(environment, state=state)))  # type: ignore[arg-type]
        for unknown in said.environments:
            record = self.grid.environments.get(unknown)
            orphan = record is None or record.state == "booming"
            if orphan and now - self._boomed_at.get(unknown, -1e9) >= RESEND_SECONDS:
                self._boomed_at[unknown] = now
                effects.append(Tell(Line("boom", (unknown, unknown), {"node": said.node})))
        self._boomed_at = {i: t for i, t in self._boomed_at.items() if now - t < 60}
        return effects

    def _node_ready(self, said: from_cpu.Ready) -> list[Effect]:
        environment = self.grid.environments.get(said.environment)
        if environment is None:
            return []
        effects: list[Effect] = []
        if environment.state == "starting":
            environment = replace(environment, state="running")
            effects.append(self.grid.keep(environment))
        pending = self.grid.pending.pop(said.environment, None)
        if pending is not None:
            owner = [(environment.user, pending.line.pairs.get("key", ""))]
            self._admitted[environment.id] = users_text(owner)
            effects += self.grid.ready(pending.request, environment)
        return effects

    def _node_admitted(self, said: from_cpu.Admitted) -> list[Effect]:
        pending = self.grid.pending.pop(said.request, None)
        self._admitted[pending.environment if pending is not None else said.request] = said.users
        return [] if pending is None else _admitted(pending, self._alias(pending))

    def _look_at_keys(self, now: float) -> list[Effect]:
        """Tell nodes who may enter, where that is not what they said last: somebody is known no more.

        Said again until it is answered, and once for each environment by a dispatcher that has begun.
        """
        if now - self._looked_at_keys < KEYS_SECONDS:
            return []
        self._looked_at_keys = now
        effects: list[Effect] = []
        self._admitted = {i: t for i, t in self._admitted.items() if i in self.grid.environments}
        for environment in self.grid.environments.values():
            line = self.grid.admission(environment.id, environment)
            here = environment.state in ("running", "ended")
            if here and self._admitted.get(environment.id) != line.pairs["users"]:
                effects.append(Tell(line))
        return effects

    def _node_failed(self, said: from_cpu.Failed) -> list[Effect]:
        pending = self.grid.pending.pop(said.request, None)
        environment = self.grid.environments.get(said.request)
        effects: list[Effect] = []
        if environment is not None and environment.state == "starting":
            self.grid.environments.pop(environment.id)
            effects.append(Forget(environment.id))
        if pending is not None:
            effects.append(End(said.request, Exit.FAILED, said.why))
        return effects

    def _node_saved(self, said: from_cpu.Saved) -> list[Effect]:
        pending = self.grid.pending.pop(said.request, None)
        if pending is None:
            return []
        request = pending.request
        new_name = request.words[2]
        environment = self.grid.environments.get(pending.environment)
        base = environment.score if environment is not None else ""
        effects: list[Effect] = [Record(request.id, request.user, new_name, said.score, base)]
        if said.pause:
            effects.append(Say(request.id, f"paused {said.pause} ms"))
        if not said.frozen:
            effects.append(
                Say(request.id, "not frozen: files are as they were, not all at one moment")
            )
        return [*effects, Say(request.id, f"{new_name} saved"), End(request.id)]

    def _node_boomed(self, said: from_cpu.Boomed) -> list[Effect]:
        environment = self.grid.environments.get(said.environment)
        if environment is None or environment.state not in ("booming", "lost"):
            return []
        del self.grid.environments[environment.id]
        effects: list[Effect] = []
        for pending in list(self.grid.pending.values()):
            if pending.environment == environment.id:
                del self.grid.pending[pending.request.id]
                if pending.line.verb == "boom":
                    effects += boomed(pending.request, environment)
                else:
                    gone = f"{environment.alias} was BOOMed"
                    effects.append(End(pending.request.id, Exit.FAILED, gone))
        # last: who is killed before it finds the record again, and that the node has no such thing
        return [*effects, Forget(environment.id)]

    def tick(self, *, now: float, time: int) -> list[Effect]:
        """Return what follows from time having passed; call it every second or so."""
        effects: list[Effect] = []
        for waiting in list(self.grid.waiting.values()):
            effects += self.request(waiting.request, now=now, time=time)
            if any(isinstance(e, End) and e.request == waiting.request.id for e in effects):
                self.grid.waiting.pop(waiting.request.id, None)
        for pending in list(self.grid.pending.values()):
            effects += self._still_pending(pending, now)
        effects += self._look_at_keys(now)
        for environment in list(self.grid.environments.values()):
            if environment.state == "lost" and time - environment.time > LOST_SECONDS_MAX:
                del self.grid.environments[environment.id]
                effects.append(Forget(environment.id))
        return effects

    def _still_pending(self, pending: Pending, now: float) -> list[Effect]:
        node = self.grid.nodes.get(pending.node)
        heard = max(pending.since, node.seen if node is not None else self.grid.begun)
        if now - heard > SILENT_SECONDS_MAX:
            del self.grid.pending[pending.request.id]
            effects: list[Effect] = []
            environment = self.grid.environments.get(pending.environment)
            if environment is not None and pending.line.verb == "fetch":
                # it may have been started: it is taken away when the node is back
                reason = f"cpu {pending.node} does not answer"
                effects.append(self.grid.keep(replace(environment, state="booming", reason=reason)))
            text = f"cpu {pending.node} does not answer"
            return [*effects, End(pending.request.id, Exit.UNREACHABLE, text)]
        if now - pending.told >= RESEND_SECONDS:
            pending.told = now
            environment = self.grid.environments.get(pending.environment)
            if pending.line.verb == "admit" and environment is not None:
                pending.line = self.grid.admission(pending.request.id, environment)
            return [Tell(pending.line)]
        return []


def _admitted(pending: Pending, alias: str) -> list[Effect]:
    verb, other = pending.request.words[:2]
    may = "may attach" if verb == "invite" else "may no longer attach"
    return [Say(pending.request.id, f"{other} {may} {alias}"), End(pending.request.id)]


def _seconds_of(request: Request) -> int:
    return request.time
