"""Which runtime makes an environment: decided here alone, once, and kept in the environment's record."""

from typing import Final

from spawngrid.environment.interface import CannotIsolate, RuntimeName
from spawngrid.environment.runtimes.interface import Runtime
from spawngrid.environment.runtimes.runc import Runc

ALL: Final[dict[RuntimeName, Runtime]] = {"runc": Runc()}


def choose() -> RuntimeName:
    """Return the runtime for an environment; CannotIsolate if it is not installed."""
    missing = ALL["runc"].lacks()
    if missing:
        raise CannotIsolate(missing)
    return "runc"
