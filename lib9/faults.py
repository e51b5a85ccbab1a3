"""Named points at which a test may end the process or break it; otherwise nothing happens there.

Code calls `fault("save.root-written")` between two steps whose order matters. Only a test arms a
point: in its own process with `arm`, in a daemon through the environment variable `SPAWNGRID_FAULT`,
which the daemon's `cli` hands to `arm_kill`.
"""

import os
import signal
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "SPAWNGRID_FAULT"

_action: Callable[[str], None] | None = None


def fault(name: str) -> None:
    """Tell the armed test, if any, that the point `name` is reached."""
    if _action is not None:
        _action(name)


def arm(action: Callable[[str], None] | None) -> None:
    """Call `action` with the name of every point that is reached from now on; None: disarm."""
    global _action  # noqa: PLW0603  one process has one set of points
    _action = action


def arm_kill(spec: str) -> None:
    """Arm `NAME` or `NAME:N`: the process is killed at the N-th hit, as by kill -9."""
    name, _, count = spec.partition(":")
    left = int(count or 1)

    def action(reached: str) -> None:
        nonlocal left
        if reached == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    arm(action)
