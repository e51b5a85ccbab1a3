"""The hubs of a storage node: the original's six, and two of each user's own.

    sto.in   0622  anyone may say that there is a request    sto.out  0644   what everybody may know
    cpu.in   0600  what cpu nodes are told                   sto.err  0600   for operators
    cpu.out  0600  what they say                             cpu.err  0600
    in/USER  0600  requests, a line each                     out/USER 0600   their answers

New readers get what is written from then on. A hub of a user's belongs to that user by the key of the
channel; the cpu.* hubs belong to whoever has the right `cpu`.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from typing import Final

from hubfs.errors import HubError
from hubfs.flow import Flow
from hubfs.namespace import HUBS_MAX, Namespace, Node, Settings
from hubfs.net.service import HubService
from hubfs.net.visitors import RIGHTS, Visitor
from hubfs.operations import HubOperations
from lib9.fuse.attach import Attached
from lib9.fuse.options import MountOptions
from lib9.fuse.session import serve
from lib9.keys import Peer
from spawngrid.settings.users import RIGHT_CPU, RIGHT_GRID, RIGHT_OPERATOR

CPU_OWNER: Final = "cpu"
USERS_MAX: Final = (HUBS_MAX - 6) // 2  # who may have hubs of their own at a time
_SIX: Final = {
    "sto.in": (0o622, ""),
    "sto.out": (0o644, ""),
    "sto.err": (0o600, ""),
    "cpu.in": (0o600, CPU_OWNER),
    "cpu.out": (0o600, CPU_OWNER),
    "cpu.err": (0o600, CPU_OWNER),
}


class GridHubs:
    """gridsvc: the names, and what is served of them here and to others."""

    def __init__(self, on_quit: Callable[[], None]) -> None:
        settings = Settings(only_new=True)
        self.names = Namespace(os.getuid(), os.getgid(), time.time_ns(), settings, fixed=True)
        self.flow = Flow()
        self.names.root.mode = stat.S_IFDIR | 0o755
        # ctl shows who is here and how much was said
        self.names.ctl.mode = stat.S_IFREG | 0o600
        self._groups = {name: self._group(name) for name in ("in", "out")}
        for name, (mode, owner) in _SIX.items():
            self._make(self.names.root, name, mode, owner)
        self.service = HubService(self.names, self.flow, "gridsvc", on_quit)
        self._on_quit = on_quit

    async def serve(
        self, attached: Attached, options: MountOptions, ready: Callable[[], None]
    ) -> None:
        """Serve the mount here until it is unmounted or cancelled."""
        operations = HubOperations(self.names, self.flow, self.service.status, self._on_quit)
        await serve(operations, attached, options, ready=lambda _: ready())

    def node(self, path: str) -> Node:
        """Return a hub by name; NoSuchHub."""
        return self.names.find(path)

    def of_user(self, user: str) -> tuple[Node, Node]:
        """Return a user's two hubs, made if they are not there; OSError ENOSPC at USERS_MAX."""
        found = []
        for name, group in self._groups.items():
            try:
                found.append(self.names.find(f"{name}/{user}"))
            except HubError:
                found.append(self._make(group, user, 0o600, user))
        return found[0], found[1]

    async def write(self, path: str, text: str) -> None:
        """Store one line in a hub."""
        await self.flow.write(self.names.find(path), text.encode() + b"\n", patient=True)

    def _group(self, name: str) -> Node:
        return self.names.make_group(
            self.names.root, name.encode(), 0o711, os.getuid(), os.getgid(), time.time_ns()
        )

    def _make(self, folder: Node, name: str, mode: int, owner: str) -> Node:
        node = self.names.create(
            folder, name.encode(), mode, os.getuid(), os.getgid(), time.time_ns()
        )
        node.owner = owner
        return node


def visitor(peer: Peer) -> Visitor | None:
    """Return what a peer may do with the hubs, None if nothing."""
    if RIGHT_OPERATOR in peer.rights:
        return Visitor(peer.name, frozenset(RIGHTS))
    if RIGHT_CPU in peer.rights:
        return Visitor(peer.name, frozenset(("read", "append")), frozenset((CPU_OWNER,)))
    if RIGHT_GRID in peer.rights:
        return Visitor(peer.name, frozenset(("read", "append")))
    return None
