"""A whole run: directories of the host become a root in a store; blocks first, the root last."""

import os
import stat
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from fossil_fs.ingest.assemble import Assembler, Past
from fossil_fs.ingest.feed import Fed, Feed, Intake, Sink
from fossil_fs.ingest.hardlinks import HardLinks
from fossil_fs.ingest.options import Options
from fossil_fs.ingest.readers import OpenDirectory, Readers, ThreadReaders
from fossil_fs.ingest.remember import LINKS, UNKNOWN, Notes, Record, pack_names, recall
from fossil_fs.ingest.report import Report
from fossil_fs.ingest.scan import STAMP_LAG_NS, Found, open_top
from fossil_fs.ingest.visit import Visit
from fossil_fs.ingest.walk import Walk
from fossil_fs.ingest.workers import ProcessReaders
from fossil_fs.links import write_links
from fossil_fs.node import Node
from fossil_fs.qid import ROOT_QID, qid_of
from fossil_fs.snapshot import Snapshot, open_snapshot, write_snapshot
from lib9.errors import UsageError
from lib9.waiting import Wait, run_now
from venti_store.hashtree.entry import Entry
from venti_store.interfaces import Batch, BlockStore
from venti_store.score import Score

MANY_MODE: Final = stat.S_IFDIR | 0o755  # of the directory that holds several


@dataclass(frozen=True, slots=True)
class Previous:
    """The archive before this one, and where the host's state at that time is remembered."""

    score: Score | None
    memory_file: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """`fed` is what went into the store; `unchanged`: `score` is that of the previous archive."""

    score: Score
    fed: Fed
    unchanged: bool = False


def archive(
    store: BlockStore,
    paths: Sequence[bytes],
    options: Options,
    report: Report,
    *,
    previous: Previous | None = None,
    wait: Wait = run_now,
    address: str | None = None,
) -> Outcome:
    """Archive `paths`; when this returns, all of it is on stable storage.

    The content of one directory is the root; several paths, or one that is no directory, are
    entries of the root under their last names. `wait` runs the store's coroutines. With the
    `address` of a store on this machine, processes of their own read files. Raises what the store
    raises, OSError for a path that cannot be opened, UsageError for names that clash.
    """
    start_ns = time.time_ns()
    tops = _open_tops(paths)
    with ExitStack() as stack:
        run = _Run(store, options, report, wait, previous, start_ns - STAMP_LAG_NS, address, stack)
        return run.archive(tops)


@dataclass(frozen=True, slots=True)
class _Top:
    """What the user named: an open directory, or a file's open parent directory and its name."""

    path: bytes
    name: bytes  # its last name
    fd: int
    is_directory: bool


class _Run:
    def __init__(
        self,
        store: BlockStore,
        options: Options,
        report: Report,
        wait: Wait,
        previous: Previous | None,
        before_ns: int,
        address: str | None,
        stack: ExitStack,
    ) -> None:
        self.store, self.options, self.report, self.wait = store, options, report, wait
        self.old: Snapshot | None = None
        self.past: Past | None = None
        self.notes: Notes | None = None
        if previous is not None:
            self._recall(previous)
            self.notes = Notes(previous.memory_file, store.family)
            stack.callback(self.notes.drop)
        self.intake = Intake(store, wait)
        self.feed = stack.enter_context(Feed(self.intake))
        self.readers = self._make_readers(address)
        stack.callback(self.readers.close)
        self.sink = Sink(self.feed)
        self.hardlinks = HardLinks()
        self.assembler = Assembler(
            store,
            self.sink,
            wait,
            self.readers,
            report,
            hardlinks=self.hardlinks,
            past=self.past,
            notes=self.notes,
            before_ns=before_ns,
        )

    def _make_readers(self, address: str | None) -> Readers:
        dsize, count = self.options.dsize, self.options.readers
        if address is None or not count:
            return ThreadReaders(self.feed, dsize, count)
        return ProcessReaders(self.feed, address, self.store.family, dsize, count)

    def _recall(self, previous: Previous) -> None:
        if previous.score is None:
            return
        self.old = self.wait(open_snapshot(self.store, previous.score))
        memory = recall(previous.memory_file, self.store.family, previous.score, self.options.dsize)
        if memory is not None:
            self.past = Past(memory, self.old.links)

    def archive(self, tops: Sequence[_Top]) -> Outcome:
        walk = Walk(self.options, self.report)
        if len(tops) == 1 and tops[0].is_directory:
            top = Visit(b"", tops[0].path, ROOT_QID)
            self._follow(walk, top, tops[0].fd)
        else:
            top = self._many(walk, tops)
        self.assembler.finish()
        self.intake.fed.add(self.readers.sync())
        links = self._links()
        assert top.node is not None, "the top directory is written last"
        return self._finish(top.node, links)

    def _follow(self, walk: Walk, top: Visit, fd: int) -> None:
        for visit, directory, files in walk.below(top, fd):
            if directory is not None:
                self.assembler.enter(visit, directory, files)
            else:
                self.assembler.leave(visit)

    def _many(self, walk: Walk, tops: Sequence[_Top]) -> Visit:
        """Archive several things as entries of one directory, which takes its owner from the first."""
        root = Visit(b"", b"", ROOT_QID)
        if self.past is not None:
            root.remember(self.past.memory.find(b""))
        states = []
        for top in sorted(tops, key=lambda top: top.name):
            if top.is_directory:
                states.append(os.fstat(top.fd))
                visit = Visit(top.name, top.path, qid_of(b"", top.name))
                root.children.append((top.name, visit))
                self._follow(walk, visit, top.fd)
            else:
                state = os.stat(top.name, dir_fd=top.fd, follow_symlinks=False)
                states.append(state)
                directory = OpenDirectory(top.fd)
                self.assembler.add_files(root, directory, [Found(top.name, state)])
                directory.release()
        newest = max(state.st_mtime_ns for state in states)
        root.made = Node(
            MANY_MODE, states[0].st_uid, states[0].st_gid, mtime_ns=newest, qid=ROOT_QID
        )
        self.assembler.leave(root)
        return root

    def _links(self) -> tuple[Entry, Entry] | None:
        """Write the inodes with several names; return their streams."""
        linked = list(self.hardlinks.linked())
        notes = pack_names([inode.note() for inode in linked])
        record = self.past.memory.find(LINKS) if self.past is not None else None
        pair: tuple[Entry, Entry] | None
        old = self.old.link_streams if self.old is not None and record is not None else None
        unknown = any(inode.sign == UNKNOWN for inode in linked)
        if old is not None and record is not None and record.files == notes and not unknown:
            pair = old
        elif linked:
            pair = write_links(
                self.sink, [(inode.qid, self.assembler.whole(inode)) for inode in linked]
            )
        else:
            pair = None
        if pair is not None and self.notes is not None:
            self.notes.add(Record(LINKS, *pair, notes, b""))
        return pair

    def _finish(self, root: Node, links: tuple[Entry, Entry] | None) -> Outcome:
        """Write the root, once everything below it is on stable storage."""
        self.sink.flush()
        self.feed.sync()
        old = self.old
        if old is not None and self._again(root, links, old) == old.score:
            outcome = Outcome(old.score, self.intake.fed, unchanged=True)
        else:
            prev = old.score if old is not None else None
            score = write_snapshot(self.sink, root, links, prev=prev, blocksize=self.options.dsize)
            self.sink.flush()
            self.feed.sync()
            outcome = Outcome(score, self.intake.fed)
        if self.notes is not None:
            self.notes.keep(outcome.score, self.options.dsize)
        return outcome

    def _again(self, root: Node, links: tuple[Entry, Entry] | None, old: Snapshot) -> Score:
        """Return the score that the root would have if it were the old one again."""
        return write_snapshot(
            Batch(self.store.family),
            root,
            links,
            prev=old.prev,
            name=old.name,
            blocksize=old.blocksize,
        )


def _open_tops(paths: Sequence[bytes]) -> list[_Top]:
    tops = [_open_top(path) for path in paths]
    if len(tops) == 1 and tops[0].is_directory:
        return tops
    names: dict[bytes, bytes] = {}
    for top in tops:
        if not top.name:
            raise UsageError(f"{os.fsdecode(top.path)}: has no last name to be an entry under")
        if top.name in names:
            first, second = os.fsdecode(names[top.name]), os.fsdecode(top.path)
            raise UsageError(f"{first} and {second}: the same last name")
        names[top.name] = top.path
    return tops


def _open_top(path: bytes) -> _Top:
    clean = path.rstrip(b"/") or path[:1]
    name = os.path.basename(clean)
    if name in (b"", b".", b".."):
        name = os.path.basename(os.path.realpath(clean))
    try:
        return _Top(path, name, open_top(path), True)
    except NotADirectoryError:
        return _Top(path, name, open_top(os.path.dirname(clean) or b"."), False)
