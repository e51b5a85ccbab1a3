"""What a server answers to each request that does not wait."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import Any, Final

from hubfs import ctl
from hubfs.flow import Flow, hub_of
from hubfs.namespace import Namespace, Node
from hubfs.net import wire
from hubfs.net.sessions import READERS_MAX, Session

LISTED_MAX: Final = 1000  # names in one reply
_CHANGES: Final = (
    wire.Create, wire.MakeGroup, wire.Remove, wire.RemoveGroup, wire.Rename, wire.SetMode,
    wire.Command,
)  # fmt: skip


class Answers:
    """The hubs of one server as its clients may see and change them."""

    def __init__(
        self,
        names: Namespace,
        flow: Flow,
        status: Callable[[], bytes],
        on_quit: Callable[[], None],
    ) -> None:
        self._names = names
        self._flow = flow
        self._status = status
        self._on_quit = on_quit
        self._table: dict[type[wire.Request], Callable[[Session, Any], wire.Message]] = {
            wire.Ping: lambda _session, _asked: wire.Done(),
            wire.Lookup: self._lookup,
            wire.GetFacts: self._get_facts,
            wire.List: self._list,
            wire.Create: self._create,
            wire.MakeGroup: self._make_group,
            wire.Remove: self._remove,
            wire.RemoveGroup: self._remove_group,
            wire.Rename: self._rename,
            wire.SetMode: self._set_mode,
            wire.Open: self._open,
            wire.Close: self._close,
            wire.GetStatus: self._get_status,
            wire.Command: self._command,
        }

    def answer(self, session: Session, asked: wire.Message) -> wire.Message:
        """Return the reply; raises OSError, BadCommand or NoSuchHub."""
        if self._names.fixed and isinstance(asked, _CHANGES):
            session.visitor.check_control()
        return self._table[type(asked)](session, asked)  # type: ignore[index]

    def _facts(self, session: Session, node: Node) -> wire.Facts:
        size = len(node.hub) if node.hub is not None and node.hub.frozen else 0
        return wire.Facts(
            node.ino,
            node.mode,
            2 if node.children is not None else int(node.parent is not None),
            size,
            node.mtime_ns if session.visitor.may_read(node) else 0,
            session.visitor.owns(node),
        )

    def _told(self, session: Session, node: Node) -> wire.Told:
        return wire.Told(self._facts(session, node))

    def _lookup(self, session: Session, asked: wire.Lookup) -> wire.Message:
        return self._told(session, self._names.lookup(self._names.node(asked.parent), asked.name))

    def _get_facts(self, session: Session, asked: wire.GetFacts) -> wire.Message:
        return self._told(session, self._names.node(asked.ino))

    def _list(self, session: Session, asked: wire.List) -> wire.Message:
        folder = self._names.node(asked.ino)
        session.visitor.check_list(folder)
        children = folder.children or {}
        after = sorted((n for n in children.values() if n.ino > asked.after), key=lambda n: n.ino)
        names = (wire.Name(n.name, self._facts(session, n)) for n in after[:LISTED_MAX])
        return wire.Names(tuple(names))

    def _create(self, session: Session, asked: wire.Create) -> wire.Message:
        return self._made(session, asked, self._names.create)

    def _make_group(self, session: Session, asked: wire.MakeGroup) -> wire.Message:
        return self._made(session, asked, self._names.make_group)

    def _made(
        self,
        session: Session,
        asked: wire.Create | wire.MakeGroup,
        make: Callable[[Node, bytes, int, int, int, int], Node],
    ) -> wire.Message:
        folder = self._names.node(asked.parent)
        session.visitor.check_create(folder)
        node = make(folder, asked.name, asked.mode, os.getuid(), os.getgid(), time.time_ns())
        node.owner = session.visitor.name
        return self._told(session, node)

    def _remove(self, session: Session, asked: wire.Remove) -> wire.Message:
        folder = self._names.node(asked.parent)
        session.visitor.check_owns(self._names.lookup(folder, asked.name))
        self._flow.wake(self._names.remove(folder, asked.name, time.time_ns()))
        return wire.Done()

    def _remove_group(self, session: Session, asked: wire.RemoveGroup) -> wire.Message:
        folder = self._names.node(asked.parent)
        session.visitor.check_owns(self._names.lookup(folder, asked.name))
        self._names.remove_group(folder, asked.name, time.time_ns())
        return wire.Done()

    def _rename(self, session: Session, asked: wire.Rename) -> wire.Message:
        folder, target = self._names.node(asked.parent), self._names.node(asked.new_parent)
        session.visitor.check_owns(self._names.lookup(folder, asked.name))
        session.visitor.check_create(target)
        old = (target.children or {}).get(asked.new_name)
        if old is not None:
            session.visitor.check_owns(old)
        self._names.rename(
            folder, asked.name, target, asked.new_name, time.time_ns(), replace=bool(asked.replace)
        )
        if old is not None and old.parent is None and old.hub is not None:
            self._flow.wake(old)
        return wire.Done()

    def _set_mode(self, session: Session, asked: wire.SetMode) -> wire.Message:
        node = self._names.node(asked.ino)
        session.visitor.check_owns(node)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(asked.mode)
        return self._told(session, node)

    def _open(self, session: Session, asked: wire.Open) -> wire.Message:
        if asked.reader in session.readers:
            node, reader = session.readers[asked.reader]
            return wire.Opened(node.ino, reader.position)
        node = self._names.node(asked.ino) if asked.ino else self._named(asked.path)
        session.visitor.check_read(node)
        if node.hub is None:
            raise OSError(errno.EISDIR, "is no hub")
        if len(session.readers) >= READERS_MAX:
            raise OSError(errno.ENFILE, f"{READERS_MAX} readers of a client are the limit")
        reader = node.hub.attach(session.visitor.name)
        if asked.position != wire.AT_THE_END:
            node.hub.seek(reader, asked.position)
        session.add_reader(asked.reader, node, reader)
        return wire.Opened(node.ino, reader.position)

    def _named(self, path: bytes) -> Node:
        node = self._names.root
        for name in path.split(b"/"):
            node = self._names.lookup(node, name)
        return node

    def _close(self, session: Session, asked: wire.Close) -> wire.Message:
        found = session.readers.pop(asked.reader, None)
        if found is not None:
            node, reader = found
            reader.end_of_file = True  # a read of it that still waits ends
            self._flow.wake(node)
            self._flow.detach(node, reader)
        return wire.Done()

    def _get_status(self, session: Session, _: wire.GetStatus) -> wire.Message:
        session.visitor.check_read(self._names.ctl)
        return wire.Status(self._status())

    def _command(self, session: Session, asked: wire.Command) -> wire.Message:
        text = bytes(asked.text)
        if "control" not in session.visitor.rights:
            nodes = ctl.commanded(self._names, text)
            if nodes is None:
                session.visitor.check_owns(self._names.ctl)
            for node in nodes or ():
                session.visitor.check_owns(node)
        effects = ctl.run_command(self._names, text)
        self._flow.apply(effects)
        if effects.quit:
            self._on_quit()
        return wire.Done()


def frozen_read(node: Node, asked: wire.Read) -> wire.Data | None:
    """Answer a read of a frozen hub, which does not wait; None for every other."""
    hub = hub_of(node)
    if not (hub.frozen and asked.fresh):
        return None
    return wire.Data(0, 1, hub.read_frozen(asked.offset, min(asked.size, wire.DATA_SIZE_MAX)))
