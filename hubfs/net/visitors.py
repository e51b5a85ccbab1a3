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
    """`name` is what the status shows; `rights` are some of RIGHTS.

    What belongs to one of `also` is this visitor's too, as what belongs to a group.
    """

    name: str
    rights: frozenset[str]
    also: frozenset[str] = frozenset()

    def owns(self, node: Node) -> bool:
        """Tell whether this visitor may do what an owner may."""
        return "control" in self.rights or self._is_owner(node)

    def check_read(self, node: Node) -> None:
        """EACCES unless this visitor may read `node`."""
        self._check("read", node, stat.S_IROTH)

    def check_append(self, node: Node) -> None:
        """EACCES unless this visitor may write to `node`."""
        self._check("append", node, stat.S_IWOTH)

    def check_create(self, folder: Node) -> None:
        """EACCES unless this visitor may make names in `folder`."""
        self._check("create", folder, stat.S_IWOTH)

    def check_list(self, folder: Node) -> None:
        """EACCES unless this visitor may see which names `folder` has."""
        if not ("control" in self.rights or self._is_owner(folder) or folder.mode & stat.S_IROTH):
            raise OSError(errno.EACCES, f"{folder.path() or '/'} is closed to {self.name}")

    def may_read(self, node: Node) -> bool:
        """Tell whether `check_read` would pass."""
        try:
            self.check_read(node)
        except OSError:
            return False
        return True

    def check_control(self) -> None:
        """EPERM unless this visitor is an operator."""
        if "control" not in self.rights:
            raise OSError(errno.EPERM, "names, modes and settings are fixed here")

    def check_owns(self, node: Node) -> None:
        """EPERM unless this visitor may remove, move and chmod `node`."""
        if not self.owns(node):
            raise OSError(errno.EPERM, f"{self.name} does not own {node.path() or '/'}")

    def _is_owner(self, node: Node) -> bool:
        return bool(node.owner) and (node.owner == self.name or node.owner in self.also)

    def _check(self, right: str, node: Node, bit: int) -> None:
        if right not in self.rights:
            raise OSError(errno.EACCES, f"{self.name} has no right to {right}")
        if "control" in self.rights:
            return
        if self._is_owner(node):
            bit <<= 6
        if not node.mode & bit:
            raise OSError(errno.EACCES, f"{node.path() or '/'} is closed to {self.name}")


def rights_of(words: frozenset[str]) -> frozenset[str]:
    """Return the rights that `right=` words of a record give: `hub`, or `hub.read` and the like."""
    if SERVICE in words:
        return frozenset(RIGHTS)
    return frozenset(right for right in RIGHTS if f"{SERVICE}.{right}" in words)
