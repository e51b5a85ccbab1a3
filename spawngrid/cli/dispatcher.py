"""How `stosvc` and `cpusvc` begin: as which node, known by which pid, and when they are ready."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spawngrid.settings.config import NodeConfig


def begin(args: argparse.Namespace, service: str) -> NodeConfig:
    """Return the node that this process serves, after recording it as the node's `service`."""
    from lib9 import faults
    from spawngrid.cli.node import node_of
    from spawngrid.node.processes import record_pid

    config = node_of(args)
    os.environ.update(config.environ(dict(os.environ)))
    if faults.VARIABLE in os.environ:
        faults.arm_kill(os.environ[faults.VARIABLE])
    record_pid(config, service, os.getpid())
    return config


def tell_ready() -> None:
    """Tell the service manager, once: what is started here is no service of it."""
    from lib9 import supervision

    supervision.notify(os.environ, "READY=1")
    os.environ.pop("NOTIFY_SOCKET", None)
