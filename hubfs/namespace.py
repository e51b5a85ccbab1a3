"""The names under a hub mount: hubs in groups (directories), who owns them, and `ctl` at the top.

Pure: permissions are checked by the kernel, and `now_ns` comes from the caller. OSError carries the
errno a caller of the kernel shall see.
"""

import errno
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from hubfs.errors import NoSuchHub
from hubfs.hub import CAPACITY_DEFAULT, MESSAGE_SIZE_MAX_DEFAULT, Hub
from hubfs.limit import RATE_MAX, Limiter

ROOT_INO = 1
CTL_INO = 2
CTL_NAME = b"ctl"
HUBS_MAX = 1024  # each may keep CAPACITY bytes
GROUPS_MAX = 256
NAME_SIZE_MAX = 255


@dataclass(slots=True)
class Settings:
    """What holds for every hub, and for those made from now on."""

    capacity: int = CAPACITY_DEFAULT
    message_size_max: int = MESSAGE_SIZE_MAX_DEFAULT
    bytes_per_second: int = RATE_MAX
    gap_ns: int = 0
    reset_seconds: float = 60.0
    limited: bool = False
    fear: bool = False
    frozen: bool = False
    only_new: bool = False


@dataclass(slots=True, eq=False)
class Node:
    """A name's file: `hub` for a hub, `children` for a group; `ctl` has neither.

    `owner` is who made it over the network, `writer` who wrote last.
    """

    ino: int
    name: bytes
    parent: "Node | None"
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    hub: Hub | None = None
    limiter: Limiter | None = None
    children: "dict[bytes, Node] | None" = None
    owner: str = ""
    writer: str = ""

    def path(self) -> str:
        """Return the name people use: `io0`, or `group/io0`."""
        parts = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            parts.append(node.name.decode())
            node = node.parent
        return "/".join(reversed(parts))


@dataclass(slots=True)
class Namespace:
    """All names of one hub mount. A removed hub's Node lives on with those who have it open.

    `fixed`: whoever comes over the network changes no names, modes and settings, but operators do.
    """

    uid: int
    gid: int
    now_ns: int
    settings: Settings = field(default_factory=Settings)
    hubs_max: int = HUBS_MAX
    fixed: bool = False
    hub_count: int = field(default=0, init=False)
    refused: str = field(default="", init=False)  # why the last command was, if it was
    root: Node = field(init=False)
    ctl: Node = field(init=False)
    _next_ino: int = field(default=3, init=False)
    _group_count: int = field(default=0, init=False)
    _by_ino: dict[int, Node] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        # sticky: a name is removed by its owner or the owner of the mount
        folder = stat.S_IFDIR | 0o1777
        self.root = Node(ROOT_INO, b"", None, folder, self.uid, self.gid, self.now_ns, children={})
        self.ctl = Node(
            CTL_INO, CTL_NAME, self.root, stat.S_IFREG | 0o644, self.uid, self.gid, self.now_ns
        )
        self._children(self.root)[CTL_NAME] = self.ctl
        self._by_ino = {ROOT_INO: self.root, CTL_INO: self.ctl}

    def node(self, ino: int) -> Node:
        """Return the file that has this number and a name; ESTALE."""
        try:
            return self._by_ino[ino]
        except KeyError:
            raise OSError(errno.ESTALE, "gone") from None

    def lookup(self, parent: Node, name: bytes) -> Node:
        """Return the file of this name; ENOENT."""
        node = self._children(parent).get(name)
        if node is None:
            raise _no_such()
        return node

    def create(self, parent: Node, name: bytes, mode: int, uid: int, gid: int, now_ns: int) -> Node:
        """Make a hub; EEXIST, EINVAL, ENAMETOOLONG, ENOSPC at `hubs_max`, ENOMEM."""
        if self.hub_count >= self.hubs_max:
            raise OSError(errno.ENOSPC, f"{self.hubs_max} hubs are the limit")
        s = self.settings
        hub = Hub(s.capacity, s.message_size_max, frozen=s.frozen, fear=s.fear, only_new=s.only_new)
        limiter = Limiter(s.bytes_per_second, s.gap_ns, s.reset_seconds) if s.limited else None
        node = self._add(parent, name, stat.S_IFREG | stat.S_IMODE(mode), uid, gid, now_ns)
        node.hub, node.limiter = hub, limiter
        self.hub_count += 1
        return node

    def make_group(
        self, parent: Node, name: bytes, mode: int, uid: int, gid: int, now_ns: int
    ) -> Node:
        """Make a directory of hubs, at the top only; EPERM below, ENOSPC at `GROUPS_MAX`."""
        if parent is not self.root:
            raise OSError(errno.EPERM, "groups do not nest")
        if self._group_count >= GROUPS_MAX:
            raise OSError(errno.ENOSPC, f"{GROUPS_MAX} groups are the limit")
        node = self._add(parent, name, stat.S_IFDIR | stat.S_IMODE(mode), uid, gid, now_ns)
        node.children = {}
        self._group_count += 1
        return node

    def remove(self, parent: Node, name: bytes, now_ns: int) -> Node:
        """Remove a hub: its readers get end of file after the rest. EPERM for ctl."""
        node = self.lookup(parent, name)
        if node.children is not None:
            raise OSError(errno.EISDIR, "is a group")
        if node is self.ctl:
            raise OSError(errno.EPERM, "ctl is always there")
        self._unhook(node, now_ns)
        return node

    def remove_group(self, parent: Node, name: bytes, now_ns: int) -> Node:
        """Remove an empty group; ENOTEMPTY, ENOTDIR."""
        node = self.lookup(parent, name)
        if node.children is None:
            raise OSError(errno.ENOTDIR, "is a hub")
        if node.children:
            raise OSError(errno.ENOTEMPTY, "group has hubs")
        self._unhook(node, now_ns)
        return node

    def rename(
        self,
        parent: Node,
        name: bytes,
        new_parent: Node,
        new_name: bytes,
        now_ns: int,
        *,
        replace: bool = True,
    ) -> None:
        """Move a name; what had the new name is removed. EPERM for ctl and for nested groups."""
        node = self.lookup(parent, name)
        old = self._children(new_parent).get(new_name)
        if old is node:
            return
        if self.ctl in (node, old) or (node.children is not None and new_parent is not self.root):
            raise OSError(errno.EPERM, "may not be moved there")
        if old is not None:
            if not replace:
                raise OSError(errno.EEXIST, "exists")
            if node.children is not None:
                self.remove_group(new_parent, new_name, now_ns)
            else:
                self.remove(new_parent, new_name, now_ns)
        _check_name(new_name)
        del self._children(parent)[name]
        node.parent, node.name = new_parent, new_name
        self._children(new_parent)[new_name] = node
        parent.mtime_ns = new_parent.mtime_ns = now_ns

    def hubs(self) -> Iterator[Node]:
        """Give every hub that has a name."""
        for node in self._children(self.root).values():
            if node.hub is not None:
                yield node
            yield from (node.children or {}).values()

    def find(self, path: str) -> Node:
        """Return the hub that people call `path`; NoSuchHub."""
        node: Node | None = self.root
        for name in path.split("/"):
            node = (node.children or {}).get(name.encode()) if node is not None else None
        if node is None or node.hub is None:
            raise NoSuchHub(f"{path}: no such hub")
        return node

    def _children(self, node: Node) -> dict[bytes, Node]:
        if node.children is None:
            raise OSError(errno.ENOTDIR, "not a group")
        return node.children

    def _add(self, parent: Node, name: bytes, mode: int, uid: int, gid: int, now_ns: int) -> Node:
        children = self._children(parent)
        if parent is not self.root and parent.parent is None:
            raise _no_such()  # the group was removed under the caller's feet
        _check_name(name)
        if name in children:
            raise OSError(errno.EEXIST, "exists")
        node = Node(self._next_ino, name, parent, mode, uid, gid, now_ns)
        self._next_ino += 1
        children[name] = self._by_ino[node.ino] = node
        parent.mtime_ns = now_ns
        return node

    def _unhook(self, node: Node, now_ns: int) -> None:
        assert node.parent is not None
        del self._children(node.parent)[node.name], self._by_ino[node.ino]
        node.parent.mtime_ns = now_ns
        node.parent = None
        if node.hub is not None:
            node.hub.close()
            self.hub_count -= 1
        else:
            self._group_count -= 1


def _check_name(name: bytes) -> None:
    """A name is one word: it stands in the status and in commands, and on people's screens."""
    if len(name) > NAME_SIZE_MAX:
        raise OSError(errno.ENAMETOOLONG, "name too long")
    text = name.decode(errors="replace")
    if not name or " " in text or not text.isprintable() or "\ufffd" in text:
        raise OSError(errno.EINVAL, "a hub's name is one printable word")


def _no_such() -> OSError:
    return OSError(errno.ENOENT, "no such hub")
