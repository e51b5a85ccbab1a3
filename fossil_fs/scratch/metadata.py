"""The metadata of a scratch: an ordered map of small values that a kill or a power cut leaves whole.

One LMDB environment with one write transaction that lives from commit to commit and reads its own
writes; beside it the journal has what was not yet committed. So a change costs a few microseconds,
and all of these hold:

- `apply` returned: a kill -9 does not lose the change (the journal has it);
- `sync` returned: a power cut does not lose it;
- `commit` returned: it is in the environment, synced, and the journal is empty again.

A snapshot is a read transaction on the last commit: it stays as it is while changes go on.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from errno import ENOSPC
from typing import Any, Final

import lmdb

from fossil_fs.scratch import history
from fossil_fs.scratch.errors import ScratchDamaged
from fossil_fs.scratch.journal import Journal, Op, OpKind, perform
from fossil_fs.scratch.place import sync_directory
from lib9.faults import fault

MAP_SIZE: Final = 1 << 36  # bytes of address space; the scratch's cap is what really bounds it
PAGE: Final = 4096
_GENERATION_KEY: Final = b"\x00generation"
_EPOCH: Final = ord("p")
_GENERATION: Final = struct.Struct("<Q")
_PUT: Final = OpKind.PUT


class View:
    """Reading a state of the map: the one being changed, or a snapshot."""

    def __init__(self, transaction: Any) -> None:
        self.transaction = transaction

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self.transaction.get(key)
        return value

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Give (rest of key, value) of keys that begin with `prefix`, sorted, rest > `after`.

        The map must not change while the iterator is in use.
        """
        cursor = self.transaction.cursor()
        if not cursor.set_range(prefix + after):
            return
        for key, value in cursor:
            if not key.startswith(prefix):
                return
            rest = key[len(prefix) :]
            if rest > after or not after:
                yield rest, value


class Snapshot(View):
    """The map as it was at one commit, until `close`."""

    def close(self) -> None:
        self.transaction.abort()


class Metadata(View):
    """The map itself, with one writer: this object."""

    def __init__(self, directory: bytes) -> None:
        self._path = os.path.join(directory, b"metadata")
        self._open_environment()
        value = self._environment.begin().get(_GENERATION_KEY)
        self.generation = _GENERATION.unpack(value)[0] if value else 0
        self.journal = Journal(os.path.join(directory, b"journal"))
        super().__init__(self._environment.begin(write=True))
        self.dirty = 0  # bytes that the next commit may add to the environment, at most
        self.changes = 0  # mutations since the last commit
        self.replayed = 0
        self.epoch = history.newest_epoch(self.transaction)  # 0: there is no snapshot
        if value:
            for ops in self.journal.replay(self.generation):
                self._perform(ops)
                self.replayed += 1
            self.journal.go_on()
            if self.replayed:
                with suppress(OSError):  # a full disk: the journal has everything
                    self.commit()
        else:
            self.commit()

    def _open_environment(self) -> None:
        try:
            self._environment = lmdb.open(
                self._path, subdir=False, map_size=MAP_SIZE, max_readers=8, mode=0o600
            )
        except lmdb.Error as error:
            raise ScratchDamaged(f"{os.fsdecode(self._path)}: {error}") from error
        self._measure()

    def _measure(self) -> None:
        """Note what the environment takes on disk: only a commit, or another file, changes it."""
        self._file_bytes = os.stat(self._path).st_blocks * 512
        stat = self._environment.stat()
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        self._live_bytes = int(pages + 8) * PAGE

    def apply(self, ops: Sequence[Op]) -> None:
        """Make one mutation, all or nothing. OSError when the disk is full: then nothing changed."""
        self.journal.append(ops)
        self._perform(ops)
        self.changes += 1

    def _perform(self, ops: Sequence[Op]) -> None:
        transaction = self.transaction
        for op in ops:
            kind, key, value = op
            first = key[0]
            if self.epoch and first in history.KEPT and kind < OpKind.REPLACE:
                if kind is OpKind.DELETE and transaction.get(key) is None:
                    continue
                self.dirty += history.put_aside(transaction, key, self.epoch)
            new = value if kind is _PUT else perform(op, transaction.get(key))
            if new is None:
                transaction.delete(key)
                self.dirty += PAGE
            else:
                transaction.put(key, new)
                self.dirty += PAGE + len(new)
            if first == _EPOCH:
                self.epoch = history.newest_epoch(transaction)

    def sync(self) -> None:
        """Put every change so far on stable storage; may be called from a worker thread."""
        self.journal.sync()
        fault("fsync.journal-synced")

    def commit(self) -> None:
        """Move every change so far into the environment, synced.

        OSError when the disk is full or broken: then every change is still in the journal.
        """
        try:
            self.transaction.put(_GENERATION_KEY, _GENERATION.pack(self.generation + 1))
            self.transaction.commit()
        except lmdb.Error as error:
            self._measure()
            self._begin_again()
            raise OSError(ENOSPC, f"scratch: {error}") from error
        self.generation += 1
        self._measure()
        fault("commit.metadata-committed")
        self.journal.begin(self.generation)
        self.transaction = self._environment.begin(write=True)
        self.dirty = self.changes = 0
        fault("commit.done")

    def _begin_again(self) -> None:
        """After a failed commit: make the changes since the last one anew, from the journal."""
        self.transaction.abort()
        self.transaction = self._environment.begin(write=True)
        self.epoch = history.newest_epoch(self.transaction)
        for ops in self.journal.replay(self.generation):
            self._perform(ops)

    def snapshot(self) -> Snapshot:
        """Return the state of the last commit."""
        return Snapshot(self._environment.begin())

    def allocated(self) -> int:
        """Return the bytes that environment and journal take on disk."""
        return self._file_bytes + -(-self.journal.size // PAGE) * PAGE

    def free(self) -> int:
        """Return the bytes of pages in the environment that hold nothing."""
        return max(0, self._file_bytes - self._live_bytes)

    def live(self) -> int:
        """Return the bytes that the last commit's values need; the rest of the file is free pages."""
        return self._live_bytes

    def compact(self) -> None:
        """Give free pages back to the disk: commit, copy what is live, use the copy.

        No snapshot may be open. A kill leaves either the old file or the new one; without room for
        the copy all stays as it is.
        """
        self.commit()
        self.transaction.abort()
        copy = self._path + b".new"
        try:
            with open(copy, "wb") as file:
                self._environment.copyfd(file.fileno(), compact=True)
                os.fsync(file.fileno())
            fault("compact.copied")
            self._use(copy)
        except (OSError, lmdb.Error):
            with suppress(FileNotFoundError):
                os.unlink(copy)
        finally:
            self.transaction = self._environment.begin(write=True)

    def _use(self, copy: bytes) -> None:
        """Let a copy take the environment's place."""
        self._environment.close()
        try:
            os.replace(copy, self._path)
            sync_directory(
                os.path.dirname(self._path)
            )  # else a power cut may bring the old one back
            fault("compact.replaced")
        finally:
            self._open_environment()

    def close(self) -> None:
        """Commit and let go."""
        self.commit()
        self.abandon()

    def abandon(self) -> None:
        """Let go without a commit: the journal has what was not committed."""
        self.transaction.abort()
        self._environment.close()
        self.journal.close()
