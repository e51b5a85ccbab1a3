"""The snapshots of a scratch: made at once, dropped at once; what they kept goes in short steps.

Dropping a snapshot removes its record. What was put aside for it goes to the next older snapshot that
sees the same, or goes altogether; a kill between two steps leaves the rest to the next mount.
"""

from collections.abc import Iterator
from typing import Final

from fossil_fs.scratch import history, records
from fossil_fs.scratch.errors import ScratchError
from fossil_fs.scratch.history import Epoch, epoch_key, index_key, past_key, seen_by, unpack_past
from fossil_fs.scratch.journal import Op, delete, put
from fossil_fs.scratch.records import unpack_inode
from fossil_fs.scratch.scratch import Scratch
from fossil_fs.scratch.trimming import Trimmer
from lib9.errors import Exit
from lib9.faults import fault

SNAPSHOTS_MAX: Final = 256  # each may add a layer to a file that is always written
STEP_OPS_MAX: Final = 1000  # of one step: writers wait for no more
STEP_SIZE_MAX: Final = 1 << 20  # bytes of values in it
_LAST: Final = b"epoch"  # state: the highest number that a snapshot has had


class TooManySnapshots(ScratchError):
    """There are as many snapshots as a scratch may have."""

    exit_code = Exit.NO_SPACE


class NoSuchSnapshot(ScratchError):
    """There is no such snapshot, or no longer."""

    exit_code = Exit.NOT_FOUND


class Snapshots:
    """The snapshots of one scratch."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._trimmer = Trimmer(scratch)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self._scratch.epochs)

    def __len__(self) -> int:
        return len(self._scratch.epochs)

    def take(self, time_ns: int, name: bytes) -> Epoch:
        """Let what the scratch holds now be seen under `name` from now on.

        On return a kill does not lose it; a power cut does not once the next commit or fsync is
        done. TooManySnapshots; OSError when the disk is full.
        """
        scratch = self._scratch
        if len(scratch.epochs) >= SNAPSHOTS_MAX:
            raise TooManySnapshots(f"{SNAPSHOTS_MAX} snapshots are there already: see snapclean")
        value = scratch.get(records.state_key(_LAST))
        number = (records.unpack_number(value) if value else 0) + 1
        epoch = Epoch(number, time_ns, scratch.last_layer, scratch.base, name)
        scratch.apply(
            [
                put(epoch_key(number), history.pack_epoch(epoch)),
                put(records.state_key(_LAST), records.pack_number(number)),
            ]
        )
        fault("snapshot.taken")
        return epoch

    def get(self, number: int) -> Epoch:
        """Return a snapshot that is there; NoSuchSnapshot."""
        for epoch in self._scratch.epochs:
            if epoch.number == number:
                return epoch
        raise NoSuchSnapshot("snapshot has been deleted")

    def drop(self, number: int) -> None:
        """Remove a snapshot; `tidy` frees its space. NoSuchSnapshot."""
        self.get(number)
        self._scratch.apply([delete(epoch_key(number))])
        fault("snapshot.dropped")

    async def tidy(self) -> bool:
        """Free some of what no snapshot sees any more; tell whether there may be more.

        OSError ENOSPC when the disk itself is full.
        """
        dead = self._dead()
        if dead is not None:
            self._hand_on(dead)
            fault("snapshot.handed-on")
            return True
        return await self._trimmer.step()

    def _dead(self) -> int | None:
        """Return the number of an epoch that is gone, and has values put aside; None: there is none."""
        alive = {epoch.number for epoch in self._scratch.epochs}
        number = 0
        while (
            rest := next(self._scratch.scan(b"e", records.pack_number(number)), None)
        ) is not None:
            number = records.unpack_number(rest[0][:8])
            if number not in alive:
                return number
            number += 1
        return None

    def _hand_on(self, number: int) -> None:
        """Give values of an epoch that is gone to the snapshot before it, where that sees them."""
        scratch = self._scratch
        transaction = scratch.transaction
        older = max((e.number for e in scratch.epochs if e.number < number), default=0)
        ops: list[Op] = []
        done: list[tuple[int, bytes]] = []  # inodes whose record went with the epoch
        size = 0
        for key, _ in scratch.scan(b"e" + records.pack_number(number)):
            packed = scratch.get(past_key(key, number)) or history.pack_past(None)
            size += len(packed)
            if ops and (len(ops) >= STEP_OPS_MAX or size > STEP_SIZE_MAX):
                break
            seen = seen_by(transaction, key, older) if older else None
            if seen is not None and seen[0] == number:
                ops += [put(past_key(key, older), packed), put(index_key(older, key), b"")]
            elif key[:1] == b"i" and (value := unpack_past(packed)) is not None:
                done.append((records.unpack_number(key[1:]), value))
            ops += [delete(index_key(number, key)), delete(past_key(key, number))]
        scratch.apply(ops)
        for ino, value in done:
            layers = unpack_inode(value).layers
            if layers:
                scratch.release(ino, (layer.number for layer in layers))
