"""What follows from a request of a user. Pure; see `dispatch`, which hears the cpu nodes too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lib9.errors import Exit, SpawngridError
from spawngrid.hubtexts.words import line_of
from spawngrid.request.queue import Request
from spawngrid.stosvc.effects import Effect, End, Say
from spawngrid.stosvc.grid import Ask, Grid
from spawngrid.stosvc.looking import LOOKING
from spawngrid.stosvc.owning import OWNING
from spawngrid.stosvc.spawning import SPAWNING

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


def answer(grid: Grid, request: Request, *, now: float, time: int) -> list[Effect]:
    """Return what follows from a request; `now` is in seconds of a steady clock."""
    try:
        line = line_of(request.words)
        act = _ACTS.get(line.verb)
        if act is None:
            return [End(request.id, Exit.USAGE, "unknown command")]
        return act(grid, Ask(request, line, now, time))
    except SpawngridError as error:
        return [End(request.id, error.exit_code, str(error))]


def _help(_grid: Grid, ask: Ask) -> list[Effect]:
    return [*(Say(ask.id, usage) for usage in USAGE), End(ask.id)]


_ACTS: Final[dict[str, Callable[[Grid, Ask], list[Effect]]]] = {
    **LOOKING,
    **SPAWNING,
    **OWNING,
    "help": _help,
}
