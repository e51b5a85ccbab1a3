"""Which runtime makes an environment: decided here alone, once, and kept in the environment's record."""

from typing import Final

from spawngrid.environment.interface import CannotIsolate, Limits, RuntimeName
from spawngrid.environment.runtimes.bubblewrap import Bubblewrap
from spawngrid.environment.runtimes.interface import Runtime
from spawngrid.environment.runtimes.runc import Runc

ALL: Final[dict[RuntimeName, Runtime]] = {"runc": Runc(), "bubblewrap": Bubblewrap()}


def choose(limits: Limits | None) -> RuntimeName:
    """Return the runtime for an environment; CannotIsolate if none that is installed can do what is asked.

    Without limits: bubblewrap, or runc where that is missing, which isolates as well. With limits: runc.
    """
    wanted: tuple[RuntimeName, ...] = ("bubblewrap", "runc") if limits is None else ("runc",)
    lacks = {name: ALL[name].lacks() for name in wanted}
    for name, missing in lacks.items():
        if not missing:
            return name
    raise CannotIsolate("; ".join(lacks.values()))
