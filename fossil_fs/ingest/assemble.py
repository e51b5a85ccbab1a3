"""Visits of directories into directories of the archive, in the order in which they were left.

While files are being read, the scan goes on; a directory is written when its files were read and
its subdirectories are written. What the last run had alike is taken from there: files by their
signature, whole directories when nothing in them changed.
"""

import os
from collections import deque
from dataclasses import replace
from typing import Final

from fossil_fs.directory import Directory, edit_directory, write_directory
from fossil_fs.ingest.feed import Sink
from fossil_fs.ingest.files import make_node
from fossil_fs.ingest.hardlinks import HardLinks, Inode
from fossil_fs.ingest.readers import OpenDirectory, Readers
from fossil_fs.ingest.remember import (
    UNKNOWN,
    Memory,
    Notes,
    Record,
    pack_names,
    signature,
    unpack_names,
    with_number,
)
from fossil_fs.ingest.report import Report
from fossil_fs.ingest.scan import Found
from fossil_fs.ingest.visit import Visit, digest
from fossil_fs.links import Links
from fossil_fs.node import Node
from fossil_fs.qid import qid_of
from fossil_fs.record import is_native
from lib9.errors import SpawngridError
from lib9.waiting import Wait
from venti_store.hashtree.entry import Entry
from venti_store.interfaces import BlockReader

FILES_WAITING_MAX: Final = 16384  # in directories that were left and are not yet written


class Past:
    """The last run: its records, and the tree they speak of."""

    def __init__(self, memory: Memory, links: Links | None) -> None:
        self.memory = memory
        self.links = links


class Assembler:
    """Takes steps of a walk; every directory it has left gets a node."""

    def __init__(
        self,
        store: BlockReader,
        sink: Sink,
        wait: Wait,
        readers: Readers,
        report: Report,
        *,
        hardlinks: HardLinks,
        past: Past | None,
        notes: Notes | None,
        before_ns: int,
    ) -> None:
        self._store = store
        self._sink = sink
        self._wait = wait
        self._readers = readers
        self._report = report
        self._hardlinks = hardlinks if is_native(store.family) else None
        self._past = past
        self._notes = notes
        self._before_ns = before_ns
        self._left: deque[Visit] = deque()
        self._held: list[Visit] = []
        self._waiting = 0

    def enter(self, visit: Visit, directory: OpenDirectory, files: list[Found]) -> None:
        """Have those files of a directory read that are not known from the last run."""
        if self._past is not None:
            visit.remember(self._past.memory.find(visit.path))
        self.add_files(visit, directory, files)
        self._report.directories += 1
        self._report.current = visit.shown

    def add_files(self, visit: Visit, directory: OpenDirectory, files: list[Found]) -> None:
        """Take `files`, which lie in `directory`, as files of `visit`."""
        signs, old_signs, report = visit.signs, visit.old_signs, self._report
        to_read = []
        for found in files:
            name, state = found
            sign = signature(state, self._before_ns)
            if state.st_nlink > 1 and self._hardlinks is not None:
                if self._see_link(self._hardlinks, visit, found, sign):
                    to_read.append(found)
                continue
            signs[name] = sign
            if old_signs.get(name) != sign or sign == UNKNOWN:
                to_read.append(found)
            else:
                report.files_reused += 1
                report.size += state.st_size
        report.files += len(files)
        self._waiting += len(to_read)
        visit.jobs += self._readers.submit(directory, visit.path, to_read)

    def _see_link(self, links: HardLinks, visit: Visit, found: Found, sign: bytes) -> bool:
        """Note one of several names; tell whether the file is to be read."""
        name, state = found
        inode = links.see(state, visit.below(name), qid_of(visit.path, name), sign)
        visit.links[name] = inode
        if inode.names > 1:
            return False
        old = visit.old_signs.get(name)
        if visit.old is None or old is None or sign == UNKNOWN or with_number(old, None) != sign:
            return True
        inode.kept = (visit.old, name)
        self._report.files_reused += 1
        self._report.size += state.st_size
        return False

    def leave(self, visit: Visit) -> None:
        """Write the directory as soon as its files were read and it need not wait for others."""
        self._left.append(visit)
        while self._left and (self._left[0].ready or self._waiting > FILES_WAITING_MAX):
            self._collect(self._left.popleft())

    def finish(self) -> None:
        """Write all directories that still wait; everything has been seen."""
        while self._left:
            self._collect(self._left.popleft())
        for visit in self._held:
            self._write(visit)
        self._held.clear()

    def _collect(self, visit: Visit) -> None:
        """Take what was read of a directory's files."""
        for job in visit.jobs:
            chunk = job.result()
            for name, node in chunk.nodes:
                self._report.size += node.size
                inode = visit.links.get(name)
                if inode is None:
                    visit.nodes[name] = node
                else:
                    inode.node = node
            for name, why in chunk.troubles:
                self._report.trouble(os.path.join(visit.shown, name), why)
            self._waiting -= len(chunk.nodes) + len(chunk.missing)
            for name in chunk.missing:
                visit.signs.pop(name, None)
        visit.jobs.clear()
        if visit.waits:
            self._held.append(visit)
        else:
            self._write(visit)

    def _write(self, visit: Visit) -> None:
        changes: dict[bytes, Node | None] = dict(visit.nodes)
        digests = self._add_children(visit, changes)
        self._add_links(visit, changes)
        old = visit.old
        if old is not None:
            for name in visit.old_signs.keys() - visit.signs.keys():
                changes.setdefault(name, None)
            for name, _ in unpack_names(old.directories):
                if name not in digests:
                    changes.setdefault(name, None)
        source, meta = self._streams(old, changes)
        self._set_node(visit, source, meta)
        if self._notes is not None:
            files = pack_names(sorted(visit.signs.items()))
            directories = pack_names(sorted(digests.items()))
            self._notes.add(Record(visit.path, source, meta, files, directories))
        visit.nodes.clear()
        visit.signs.clear()
        visit.old_signs.clear()
        visit.children.clear()
        visit.links.clear()

    def _streams(
        self, old: Record | None, changes: dict[bytes, Node | None]
    ) -> tuple[Entry, Entry]:
        if old is None:
            nodes = [(name, node) for name, node in sorted(changes.items()) if node is not None]
            return write_directory(self._sink, nodes)
        if not changes:
            self._report.directories_reused += 1
            return old.source, old.meta
        return self._wait(edit_directory(self._store, self._sink, old.source, old.meta, changes))

    def _set_node(self, visit: Visit, source: Entry, meta: Entry) -> None:
        if visit.made is not None:
            visit.node = replace(visit.made, content=source, meta=meta)
            return
        assert visit.state is not None, f"{visit.path!r} was never entered"
        visit.node = make_node(self._sink, visit.state, visit.qid, visit.xattrs, source, meta)

    def _add_children(self, visit: Visit, changes: dict[bytes, Node | None]) -> dict[bytes, bytes]:
        """Add the subdirectories that are not as they were; return the digests of all."""
        old = dict(unpack_names(visit.old.directories)) if visit.old is not None else {}
        digests = {}
        for name, child in visit.children:
            assert child.node is not None, f"{child.path!r} is written after its parent"
            digests[name] = digest(child.node)
            if old.get(name) != digests[name]:
                changes[name] = child.node
        return digests

    def _add_links(self, visit: Visit, changes: dict[bytes, Node | None]) -> None:
        """Add the names of inodes that have, or might have had, several."""
        for name, inode in visit.links.items():
            path = visit.below(name)
            if not inode.known:
                if path != inode.first:
                    first = os.fsdecode(inode.first)
                    shown = os.path.join(visit.shown, name)
                    self._report.trouble(shown, f"a name of {first}, which could not be read")
                continue
            sign = with_number(inode.sign, inode.number)
            visit.signs[name] = sign
            if sign != UNKNOWN and visit.old_signs.get(name) == sign:
                continue
            changes[name] = inode.stub() if inode.linked else self.whole(inode)

    def whole(self, inode: Inode) -> Node:
        """Return all of an inode that is known, from this run or from the last."""
        if inode.node is None:
            assert inode.kept is not None, inode.first
            assert self._past is not None, inode.first
            record, name = inode.kept
            directory = Directory(self._store, record.source, record.meta, self._past.links)
            inode.node = self._wait(directory.lookup(name))
            if inode.node is None:
                raise SpawngridError(f"{os.fsdecode(inode.first)}: not in the last archive")
        return inode.whole(inode.node)
