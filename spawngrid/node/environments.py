"""The environments of a cpu node, at the places that its configuration says."""

import os

from lib9.places import PROJECT
from spawngrid.environment.interface import Environments
from spawngrid.settings.config import NodeConfig


def open_environments(config: NodeConfig) -> Environments:
    """Return the environments of this node."""
    from spawngrid.environment.node import Node

    return Node(os.path.join(config.run, PROJECT), config.place("state"))
