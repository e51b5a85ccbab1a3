"""Requests of owners: to share names, to save environments, let others in, and end them. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from spawngrid.hubtexts.words import Line, check_user_or_node
from spawngrid.stosvc import asked
from spawngrid.stosvc.effects import Effect, End, Forget, Say, Share
from spawngrid.stosvc.grid import Ask, Grid, NotNow, boomed
from spawngrid.stosvc.state import Environment


def _share(grid: Grid, ask: Ask) -> list[Effect]:
    verb = ask.line.verb
    ask.check_words(2, 2, f"{verb} USER SCORENAME")
    other, name = ask.line.words
    grid.check_user(check_user_or_node(other))
    grid.score(ask.user, name)
    return [
        Share(ask.id, ask.user, other, name, verb == "share"),
        Say(ask.id, f"{name} {verb}d with {other}"),
        End(ask.id),
    ]


def _save(grid: Grid, ask: Ask) -> list[Effect]:
    ask.check_words(2, 2, f"{ask.line.verb} ENV NEWNAME")
    asked.check_new_name(ask.line.words[1])
    environment = grid.own(ask.user, ask.line.words[0])
    if environment.state not in ("running", "ended"):
        raise NotNow(f"{environment.alias} is {environment.state}")
    return grid.tell(ask.request, environment, _line("save", ask, environment), ask.now)


def _invite(grid: Grid, ask: Ask) -> list[Effect]:
    ask.check_words(2, 2, "invite USER ENV")
    other = check_user_or_node(ask.line.words[0])
    environment = grid.own(ask.user, ask.line.words[1])
    grid.check_user(other)
    invited = tuple(dict.fromkeys((*environment.invited, other)))
    return _admit(grid, ask, replace(environment, invited=invited))


def _uninvite(grid: Grid, ask: Ask) -> list[Effect]:
    ask.check_words(2, 2, "uninvite USER ENV")
    other = check_user_or_node(ask.line.words[0])
    environment = grid.own(ask.user, ask.line.words[1])
    left = tuple(user for user in environment.invited if user != other)
    return _admit(grid, ask, replace(environment, invited=left))


def _admit(grid: Grid, ask: Ask, environment: Environment) -> list[Effect]:
    keep = grid.keep(environment)
    line = grid.admission(ask.id, environment)
    return [keep, *grid.tell(ask.request, environment, line, ask.now)]


def _boom(grid: Grid, ask: Ask) -> list[Effect]:
    ask.check_words(1, 1, "boom ENV")
    environment = grid.own(ask.user, ask.line.words[0])
    if environment.state == "lost" and environment.node not in grid.nodes:
        grid.environments.pop(environment.id, None)
        return [*boomed(ask.request, environment), Forget(environment.id)]
    booming = replace(environment, state="booming")
    line = _line("boom", ask, booming)
    return [grid.keep(booming), *grid.tell(ask.request, booming, line, ask.now)]


def _line(verb: str, ask: Ask, environment: Environment) -> Line:
    return Line(verb, (ask.id, environment.id), {"node": environment.node})


OWNING: Final = {
    "share": _share,
    "unshare": _share,
    "save": _save,
    "savedisk": _save,
    "invite": _invite,
    "uninvite": _uninvite,
    "boom": _boom,
    "kill": _boom,
}
