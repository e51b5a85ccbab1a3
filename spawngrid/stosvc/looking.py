"""Requests that change nothing: what there is, and where. Pure."""

from __future__ import annotations

from typing import Final

from spawngrid.hubtexts.words import Line
from spawngrid.stosvc import asked
from spawngrid.stosvc.effects import Compare, Effect, End, Say
from spawngrid.stosvc.grid import NODE_SECONDS_MAX, Ask, Grid, NotFound, NotNow, Waiting, may_enter
from spawngrid.stosvc.state import Environment, Node


def _scores(grid: Grid, ask: Ask) -> list[Effect]:
    ask.check_words(0, 1, "scores [SUBSTR]")
    part = ask.line.words[0] if ask.line.words else ""
    seen = [named for named in grid.names.visible(ask.user) if part in named.name]
    said: list[Effect] = [Say(ask.id, named.name) for named in seen]
    return [*said, End(ask.id)]


def _log(grid: Grid, ask: Ask) -> list[Effect]:
    ask.check_words(1, 1, "log SCORENAME")
    asked.check_name(ask.line.words[0])
    name = ask.line.words[0].partition("~")[0]
    found = [
        named
        for named in grid.names.visible(ask.user)
        if named.name == name or named.name.rpartition(".")[0] == name
    ]
    if not found:
        raise NotFound(f"{name} not found for {ask.user}")
    said: list[Effect] = []
    for named in reversed(found):
        pairs = {"time": str(named.time), "node": named.node, "owner": named.owner}
        said.append(Say(ask.id, str(Line(f"name={named.name}", (), pairs))))
    return [*said, End(ask.id)]


def _diff(grid: Grid, ask: Ask) -> list[Effect]:
    ask.check_words(2, 2, "diff SCORENAME SCORENAME")
    old, new = (grid.score(ask.user, name) for name in ask.line.words)
    return [Compare(ask.id, old, new)]


def _status(grid: Grid, ask: Ask) -> list[Effect]:
    ask.check_words(0, 1, "status [ENV]")
    out: list[Effect] = [Say(ask.id, f"active grid namespaces for {ask.user}")]
    for environment in sorted(grid.environments.values(), key=lambda e: e.id):
        if not may_enter(ask.user, environment):
            continue
        if ask.line.words and environment is not grid.find(ask.user, ask.line.words[0]):
            continue
        out.append(Say(ask.id, _described(environment, grid.nodes.get(environment.node), ask.now)))
    return [*out, End(ask.id)]


def _described(environment: Environment, node: Node | None, now: float) -> str:
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


def _where(grid: Grid, ask: Ask) -> list[Effect]:
    ask.check_words(1, 1, "where ENV")
    environment = grid.find(ask.user, ask.line.words[0])
    node = grid.nodes.get(environment.node)
    if environment.state not in ("running", "ended"):
        raise NotNow(f"{environment.alias} is {environment.state}")
    if node is None and ask.now - grid.begun < NODE_SECONDS_MAX:
        grid.waiting.setdefault(ask.id, Waiting(ask.request, ask.now))
        return []  # a dispatcher that has just begun has not heard from the nodes
    grid.waiting.pop(ask.id, None)
    if node is None or not node.here(ask.now):
        raise NotNow(f"cpu {environment.node} is not here")
    return [Say(ask.id, str(_place(environment, node))), End(ask.id)]


def _place(environment: Environment, node: Node) -> Line:
    pairs = {"env": environment.alias, "owner": environment.user, "node": node.name}
    return Line(f"environment={environment.id}", (), {**pairs, "dial": node.dial, "key": node.key})


def _nodes(grid: Grid, ask: Ask) -> list[Effect]:
    ask.check_words(0, 0, "nodes")
    said: list[Effect] = []
    for _, node in sorted(grid.nodes.items()):
        pairs = {
            "here": str(int(node.here(ask.now))),
            "free": str(node.free),
            "total": str(node.total),
            "environments": str(len(node.environments)),
        }
        said.append(Say(ask.id, str(Line(f"node={node.name}", (), pairs))))
    return [*said, End(ask.id)]


def _whoami(_grid: Grid, ask: Ask) -> list[Effect]:
    return [Say(ask.id, f"user={ask.user}"), End(ask.id)]


LOOKING: Final = {
    "scores": _scores,
    "log": _log,
    "diff": _diff,
    "status": _status,
    "where": _where,
    "nodes": _nodes,
    "whoami": _whoami,
}
