"""A scratch that is open: metadata and layers as one thing that a kill or a power cut leaves whole.

Who keeps which promise:

- A mutation is one `apply`. On return a kill -9 does not lose it.
- Bytes go to a layer before the `apply` that makes them visible.
- `fsync` puts layers, then the journal, on stable storage.
- A commit syncs every layer that was written, then commits the metadata: the environment never
  points at data that is not there. Layers that the metadata no longer needs go after the commit.
- New data is admitted before it is written (`admit`), so the cap is never passed.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from errno import ENOSPC
from typing import Final

from fossil_fs.scratch import records
from fossil_fs.scratch.budget import SIZE_MIN, Budget
from fossil_fs.scratch.datafiles import DataFiles
from fossil_fs.scratch.errors import ScratchDamaged, ScratchForeign
from fossil_fs.scratch.history import Epoch, unpack_epoch, unpack_past
from fossil_fs.scratch.journal import Op, delete, erase
from fossil_fs.scratch.metadata import Metadata, Snapshot, View
from fossil_fs.scratch.place import Identity, lock_place, read_identity
from fossil_fs.scratch.records import Inode, Layer, inode_key, unpack_inode
from lib9.faults import fault
from lib9.waiting import in_thread

CHANGES_MAX: Final = 10_000  # mutations between two commits: what a resume has to replay
COMPACT_MIN: Final = 1 << 20  # bytes of free pages that are worth a copy of the metadata
INODES_MAX: Final = 4096  # records kept unpacked
_INODE: Final = ord("i")
_NO_INODES: Final[Mapping[int, Inode]] = {}
_EPOCH: Final = ord("p")


class Records(View):
    """A view with the records' names; of the scratch as it is, or of a snapshot."""

    def inode(self, ino: int) -> Inode | None:
        value = self.get(inode_key(ino))
        return None if value is None else unpack_inode(value)

    def child(self, directory: int, name: bytes) -> int | None:
        """Return the inode under a name, GONE where the base's name is gone, None: ask the base."""
        value = self.get(records.name_key(directory, name))
        return None if value is None else records.unpack_number(value)

    def children(self, directory: int, after: bytes = b"") -> Iterator[tuple[bytes, int]]:
        """Give (name, inode or GONE), sorted; the scratch must not change meanwhile."""
        for name, value in self.scan(records.name_key(directory, b""), after):
            yield name, records.unpack_number(value)

    def linked(self, slot: int) -> int | None:
        value = self.get(records.link_key(slot))
        return None if value is None else records.unpack_number(value)


class Frozen(Records):
    """The scratch as it was when a save began."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot.transaction)
        self._snapshot = snapshot

    def close(self) -> None:
        self._snapshot.close()


class Scratch(Records):
    """An open scratch; one process has it at a time. `base` is the score it stands on now."""

    def __init__(self, directory: bytes) -> None:
        """Open, and bring to where the last acknowledged operation left it.

        NoSuchScratch, ScratchInUse, ScratchForeign, ScratchDamaged.
        """
        self.directory = directory
        self.identity: Identity = read_identity(directory)
        if self.identity.size < SIZE_MIN:
            raise ScratchForeign(f"{os.fsdecode(directory)}: a cap of {self.identity.size} bytes")
        self._lock = lock_place(directory)
        try:
            for name in (b"metadata.new",):
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(directory, name))
            self.metadata = Metadata(directory)
            self.files = DataFiles(os.path.join(directory, b"data"))
            self.budget = Budget(self.identity.size)
            self.frozen_below = 0  # layers with a lower number are read by a save: leave them alone
            self._freezes = 0
            self._inodes: dict[int, Inode | None] = {}  # as they stand, None: no record
            self._version = self.metadata.generation << 32
            self.epochs: tuple[Epoch, ...] = ()  # the snapshots that are there, oldest first
            self._read_epochs()
            self.stacked: set[int] = set()  # inodes whose layers may have pages that nobody sees
            self._layers = 0
            with suppress(OSError):  # a full disk: what is left over stays a while
                self._recover()
        except BaseException:
            os.close(self._lock)
            raise

    def inode(self, ino: int) -> Inode | None:
        try:
            return self._inodes[ino]
        except KeyError:
            inode = super().inode(ino)
            if len(self._inodes) >= INODES_MAX:
                self._inodes.clear()
            self._inodes[ino] = inode
            return inode

    @property
    def transaction(self) -> object:  # the metadata replaces it at each commit
        return self.metadata.transaction

    def get(self, key: bytes) -> bytes | None:
        return self.metadata.get(key)

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return self.metadata.scan(prefix, after)

    def _recover(self) -> None:
        """Drop what a killed process left half done; go on with versions and layers from there."""
        known: set[int] = set()
        for key, inode in self.past_inodes():
            known.update(layer.number for layer in inode.layers)
            if len(inode.layers) > 1:
                self.stacked.add(records.unpack_number(key[2:10]))
        for rest, value in self.scan(b"i"):
            inode = unpack_inode(value)
            if len(inode.layers) > 1:
                self.stacked.add(records.unpack_number(rest))
            self._version = max(self._version, inode.version)
            known.update(layer.number for layer in inode.layers)
            if inode.layers:
                self._cut_unacknowledged(inode)
        self._layers = max([*known, *self.files.numbers(), self._seen_layers])
        for inodes in self._orphans():
            self.apply(inodes)
        self.files.condemn(number for number in self.files.numbers() if number not in known)
        if self.metadata.changes or self.files.has_condemned():
            self.commit()

    def _cut_unacknowledged(self, inode: Inode) -> None:
        """Take out of a file's top layer what a write left there that did not return."""
        number = inode.layers[-1].number
        if self.files.length(number) > inode.size:
            self.files.truncate(number, inode.size)

    def _orphans(self) -> Iterator[list[Op]]:
        inos = [records.unpack_number(rest) for rest, _ in self.scan(b"o")]
        for ino in inos:
            yield [*self.forget_inode(ino), delete(records.orphan_key(ino))]

    def forget_inode(self, ino: int, *, is_dir: bool = True) -> list[Op]:
        """Return the mutation that drops all records of an inode, but for names that lead to it."""
        inode = self.inode(ino)
        named = inode is None or inode.nlink or any(p.nlink for _, p in self.past_inodes(ino))
        drop = delete if named else erase  # else a snapshot that sees it sees no way to it
        ops = [drop(inode_key(ino)), drop(records.content_key(ino))]
        for prefix in [records.xattr_key(ino, b"")] + [records.name_key(ino, b"")] * is_dir:
            ops += [drop(prefix + rest) for rest, _ in self.scan(prefix)]
        return ops

    @property
    def base(self) -> str:
        value = self.get(records.state_key(b"base"))
        return value.decode() if value else self.identity.base

    def next_version(self) -> int:
        """Return a number that no record of this scratch has had."""
        self._version += 1
        return self._version

    def next_layer(self) -> int:
        """Return a number that no layer has had."""
        self._layers += 1
        return self._layers

    @property
    def last_layer(self) -> int:
        """The highest number that a layer has had."""
        return self._layers

    def layer_is_open(self, number: int) -> bool:
        """Tell whether a layer may be written: no save reads it, no snapshot sees it."""
        return number >= self.frozen_below and number > self._seen_layers

    def _read_epochs(self) -> None:
        self.epochs = tuple(unpack_epoch(*item) for item in self.scan(b"p"))
        self._seen_layers = self.epochs[-1].layers if self.epochs else 0

    def past_inodes(self, ino: int | None = None) -> Iterator[tuple[bytes, Inode]]:
        """Give the inodes that are put aside for snapshots, with their whole keys; all, or of one."""
        key = b"" if ino is None else inode_key(ino)[1:]
        for rest, value in self.scan(b"hi" + key):
            packed = unpack_past(value)
            if packed is not None:
                yield b"hi" + key + rest, unpack_inode(packed)

    def release(self, ino: int, layers: Iterable[int]) -> None:
        """Let go of layers that an inode has done with; those that a snapshot sees stay."""
        seen = {layer.number for stack in self.stacks(ino) for layer in stack}
        self.files.condemn(number for number in layers if number not in seen)
        if seen:
            self.stacked.add(ino)

    def stacks(self, ino: int) -> set[tuple[Layer, ...]]:
        """Return the layers of an inode as it is now, and as each snapshot sees it."""
        found = {inode.layers for _, inode in self.past_inodes(ino)}
        inode = self.inode(ino)
        return found if inode is None else found | {inode.layers}

    def apply(self, ops: Sequence[Op], inodes: Mapping[int, Inode] = _NO_INODES) -> None:
        """Make one mutation, all or nothing; OSError ENOSPC when the disk itself is full.

        `inodes`: those that `ops` put; they need not be unpacked again.
        """
        self.metadata.apply(ops)
        for _, key, _ in ops:
            if key[0] == _INODE:
                self._inodes.pop(records.unpack_number(key[1:]), None)
            elif key[0] == _EPOCH:
                self._read_epochs()
        self._inodes.update(inodes)
        if self._overdue():
            with suppress(OSError):  # a full disk: the journal has it, and the next commit may work
                self.commit()

    def _overdue(self) -> bool:
        """Tell whether a commit cannot wait for the task that usually makes it."""
        metadata, budget = self.metadata, self.budget
        return metadata.journal.size > budget.journal_max or metadata.dirty > budget.dirty_max

    @property
    def commit_is_due(self) -> bool:
        metadata, budget = self.metadata, self.budget
        return (
            metadata.changes > CHANGES_MAX
            or metadata.journal.size > budget.journal_max // 2
            or metadata.dirty > budget.dirty_max // 2
        )

    @property
    def is_uncommitted(self) -> bool:
        return self.metadata.changes > 0

    def commit(self) -> None:
        """Put everything on stable storage, and free what is no longer needed."""
        self.files.sync(self.files.unsynced())
        fault("commit.data-synced")
        self.metadata.commit()
        self.files.drop_condemned(self.frozen_below)

    async def commit_gently(self) -> None:
        """Commit, with the long part, syncing layers, in a worker thread."""
        numbers = self.files.unsynced()
        if numbers:
            await in_thread(lambda: self.files.sync(numbers))
        self.commit()

    async def fsync(self, layers: Sequence[int]) -> None:
        """Put these layers and every mutation so far on stable storage."""

        def sync() -> None:
            self.files.sync(layers)
            fault("fsync.data-synced")
            self.metadata.sync()

        await in_thread(sync)

    def used(self) -> int:
        """Return the bytes that the scratch takes on disk, those of the next commit included."""
        return self.files.allocated + self.metadata.allocated() + self.metadata.dirty

    def admit(self, need: int, *, inline: bool = False) -> None:
        """Return if `need` more bytes may be taken, else OSError ENOSPC.

        `inline`: in the metadata, whose free pages may be used again.
        """
        if self.fits(need, inline=inline):
            return
        if self.metadata.dirty or self.files.has_condemned():
            self.commit()
            if self.fits(need, inline=inline):
                return
        if self.files.wait_for_space() and self.fits(need, inline=inline):
            return
        if self._compact_if_worth(need) and self.fits(need, inline=inline):
            return
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    def make_room(self) -> bool:
        """Give the disk back what waits for the next commit; tell whether there was any."""
        if not self.files.has_condemned():
            return False
        try:
            self.commit()
        except OSError:
            return False
        self.files.wait_for_space()
        return True

    def room(self) -> int:
        """Return the bytes of new data that cap and disk have room for."""
        below = os.statvfs(self.directory)
        return max(0, min(self.budget.data_max - self.used(), below.f_bavail * below.f_frsize))

    def admit_change(self) -> None:
        """Return if something may be changed that takes no new data, else OSError ENOSPC.

        Without snapshots it always may. With them what is removed stays, and so does its name: a
        part of the headroom is left for saving and for dropping them.
        """
        if not self.epochs or self._leaves_headroom():
            return
        if self.metadata.dirty > self.budget.headroom // 8:  # most of it may be counted too high
            self.commit()
            if self._leaves_headroom():
                return
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    def _leaves_headroom(self) -> bool:
        used = self.used()
        if not self._freezes:
            used -= self.metadata.free()
        return used <= self.budget.size - self.budget.headroom // 2

    def fits(self, need: int, *, inline: bool = False) -> bool:
        """Tell whether `need` more bytes may be taken right now; see `admit`."""
        allocated = self.files.allocated + self.metadata.allocated()
        if inline and not self._freezes:
            allocated -= self.metadata.free()
        return need <= self.budget.room(allocated, self.metadata.dirty)

    def _compact_if_worth(self, need: int) -> bool:
        if self._freezes or self.metadata.free() < max(COMPACT_MIN, need):
            return False
        allocated = self.files.allocated + self.metadata.allocated()
        if allocated + self.metadata.live() > self.budget.size:
            return False
        self.metadata.compact()
        return True

    def freeze(self) -> Frozen:
        """Commit and return the state; its layers are left alone until `thaw`."""
        self.commit()
        self.frozen_below = self._layers + 1
        self._freezes += 1
        return Frozen(self.metadata.snapshot())

    def thaw(self, frozen: Frozen) -> None:
        """End a `freeze`."""
        frozen.close()
        self._freezes -= 1
        self.frozen_below = 0
        self.commit()
        if self.metadata.free() > self.metadata.allocated() // 2:
            self._compact_if_worth(COMPACT_MIN)

    @property
    def is_clean(self) -> bool:
        """Tell whether the base has all that has a name; what changed is found from the root on."""
        return self.get(inode_key(records.ROOT)) is None

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing would be lost with the scratch: it is clean, and has no snapshots."""
        return self.is_clean and not self.epochs

    def check(self) -> None:
        """ScratchDamaged when a record leads to an inode or a layer that is not there."""
        layers = set(self.files.numbers())
        for rest, value in self.scan(b"d"):
            ino = records.unpack_number(value)
            if ino != records.GONE and self.inode(ino) is None:
                raise ScratchDamaged(f"name {rest[8:]!r} leads to inode {ino}, which is not there")
        for rest, value in self.scan(b"i"):
            _need_layers(records.unpack_number(rest), unpack_inode(value), layers)
        for key, inode in self.past_inodes():
            _need_layers(records.unpack_number(key[2:10]), inode, layers)

    def close(self) -> None:
        """Commit and let go; the scratch stays where it is."""
        self.commit()
        self.abandon()

    def close_if_possible(self) -> bool:
        """Close, or on a full or broken disk let go as it is; tell whether nothing is in it to keep."""
        empty = self.is_empty
        try:
            self.close()
        except OSError:
            self.abandon()
            return False
        return empty

    def abandon(self) -> None:
        """Let go as a killed process does."""
        self.metadata.abandon()
        self.files.close()
        os.close(self._lock)


def _need_layers(ino: int, inode: Inode, layers: set[int]) -> None:
    missing = {layer.number for layer in inode.layers} - layers
    if missing:
        raise ScratchDamaged(f"inode {ino} lacks layers {missing}")
