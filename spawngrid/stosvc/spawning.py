"""What follows from `spawn`: which node has room for it, and what that is told. Pure."""

from __future__ import annotations

from typing import Final

from lib9.errors import Exit
from spawngrid.hubtexts.words import Line
from spawngrid.stosvc import asked
from spawngrid.stosvc.effects import Effect, End, Say
from spawngrid.stosvc.grid import NODE_SECONDS_MAX, Ask, Grid, NotNow, Waiting
from spawngrid.stosvc.state import Environment, Node


def _spawn(grid: Grid, ask: Ask) -> list[Effect]:
    known = grid.environments.get(ask.id)
    if known is not None:
        return _spawn_again(grid, ask, known)
    line = ask.line
    ask.check_words(1, 1, f"{line.verb} SCORENAME")
    pairs = dict(line.pairs)
    if line.verb == "spawndisk":
        pairs.setdefault("disk", asked.DISK_DEFAULT)
    options = asked.spawn_options(pairs, grid.rules)
    alias = asked.alias_of(line.words[0], pairs)
    mine = [e for e in grid.environments.values() if e.user == ask.user]
    if any(e.alias == alias and e.state != "booming" for e in mine):
        return [
            Say(ask.id, f"{alias} is already being served for {ask.user}"),
            Say(ask.id, "use as=ALIAS for another of the same name"),
            End(ask.id, Exit.FAILED, f"{alias} is already being served"),
        ]
    if sum(1 for e in mine if e.state != "lost") >= grid.rules.spawn_max:
        raise NotNow("spawn limit reached")
    score = grid.score(ask.user, line.words[0])
    node = _choose(grid, pairs.get("node"), asked.memory_of(options), ask.now)
    if node is None:
        return _wait_for_node(grid, ask, pairs.get("node"))
    grid.waiting.pop(ask.id, None)
    environment = Environment(
        ask.id,
        ask.user,
        alias,
        line.words[0],
        score,
        node.name,
        "starting",
        ask.time,
        options,
    )
    return [
        Say(ask.id, "init fossil..."),
        grid.keep(environment),
        *grid.tell(ask.request, environment, fetch_line(grid, environment), ask.now),
    ]


def _spawn_again(grid: Grid, ask: Ask, known: Environment) -> list[Effect]:
    """A spawn that was begun before this dispatcher was."""
    if known.state == "starting":
        return grid.tell(ask.request, known, fetch_line(grid, known), ask.now)
    if known.state in ("running", "ended"):
        return grid.ready(ask.request, known)
    return [End(ask.id, Exit.FAILED, known.reason or f"{known.name} spawn failed")]


def _wait_for_node(grid: Grid, ask: Ask, wanted: str | None) -> list[Effect]:
    waiting = grid.waiting.setdefault(ask.id, Waiting(ask.request, ask.now))
    if ask.now - waiting.since < NODE_SECONDS_MAX:
        return []
    del grid.waiting[ask.id]
    if wanted is not None:
        raise NotNow(f"cpu {wanted} is not here")
    raise NotNow("no cpu node has room" if grid.here(ask.now) else "no cpu node is here")


def _choose(grid: Grid, wanted: str | None, memory: int, now: float) -> Node | None:
    """Return the cpu node with the most free memory, less what was promised on it."""
    free: dict[str, int] = {node.name: node.free for node in grid.here(now)}
    for environment in grid.environments.values():
        if environment.state == "starting" and environment.node in free:
            free[environment.node] -= asked.memory_of(environment.options)
    if wanted is not None:
        return grid.nodes[wanted] if wanted in free else None
    fit = [name for name, bytes_free in free.items() if bytes_free >= memory]
    return grid.nodes[max(fit, key=lambda name: (free[name], name))] if fit else None


def fetch_line(grid: Grid, environment: Environment) -> Line:
    """Return the line that has a cpu node start an environment."""
    pairs = {
        "node": environment.node,
        "as": environment.alias,
        "key": grid.key_of(environment.user) or "",
        **environment.options,
    }
    words = (environment.id, environment.name, environment.user, environment.score)
    return Line("fetch", words, pairs)


SPAWNING: Final = {"spawn": _spawn, "spawndisk": _spawn}
