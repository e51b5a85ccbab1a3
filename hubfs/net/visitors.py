"""Who comes over the network, and what they may do here. Pure.

A visitor's name and rights belong to the key that the channel proved. The mode of a hub counts as
well: who made it is its owner, everybody else is an other. `control` is for operators: every ctl
command, and every hub whatever its mode.
"""

import errno
import stat
from dataclasses import dataclass

from hubfs.namespace import Node

RIGHTS = ("read", "append", "create", "control")
SERVICE = "hub"


@dataclass(frozen=True, slots=True)
class Visitor:
    """`name` is what the status shows; `rights` are some of RIGHTS."""

    name: str
    rights: frozenset[str]

    def owns(self, node: Node) -> bool:
        """Tell whether this visitor may do what an owner may."""
        return "control" in self.rights or (node.owner == self.name and bool(self.name))

    def check_read(self, node: Node) -> None:
        """EACCES unless this visitor may read `node`."""
        self._check("read", node, stat.S_IROTH)

    def check_append(self, node: Node) -> None:
        """EACCES unless this visitor may write to `node`."""
        self._check("append", node, stat.S_IWOTH)

    def check_create(self, folder: Node) -> None:
        """EACCES unless this visitor may make names in `folder`."""
        self._check("create", folder, stat.S_IWOTH)

    def check_owns(self, node: Node) -> None:
        """EPERM unless this visitor may remove, move and chmod `node`."""
        if not self.owns(node):
            raise OSError(errno.EPERM, f"{self.name} does not own {node.path() or '/'}")

    def _check(self, right: str, node: Node, bit: int) -> None:
        if right not in self.rights:
            raise OSError(errno.EACCES, f"{self.name} has no right to {right}")
        if "control" in self.rights:
            return
        if node.owner == self.name:
            bit <<= 6
        if not node.mode & bit:
            raise OSError(errno.EACCES, f"{node.path() or '/'} is closed to {self.name}")


def rights_of(words: frozenset[str]) -> frozenset[str]:
    """Return the rights that `right=` words of a record give: `hub`, or `hub.read` and the like."""
    if SERVICE in words:
        return frozenset(RIGHTS)
    return frozenset(right for right in RIGHTS if f"{SERVICE}.{right}" in words)
