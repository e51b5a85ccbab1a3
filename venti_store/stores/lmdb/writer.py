"""The writer: one thread that groups puts into large transactions.

A record is *pending* from `offer` until its transaction is committed; reads find it there. The
queue is bounded in bytes: who finds it full waits. A group that finds no space stays pending, so
nothing accepted is lost: while the writer is stuck, puts and syncs make it try again and raise
StoreFull if it fails again. Any other failure is final for this opening of the store.

Invariants, all under `_changed`: `pending` = records queued + records in the transaction under way;
`_written` counts records committed, in the order accepted; `_durable` <= `_written` <= `_accepted`.
"""

import os
import threading
from collections import deque
from collections.abc import Sequence

import lmdb

from venti_store.errors import StoreError, StoreFull
from venti_store.stores.lmdb import growth
from venti_store.stores.lmdb.append import Item, append
from venti_store.stores.lmdb.environment import Environment, store_error, store_errors
from venti_store.stores.lmdb.verified import Verified

QUEUE_BYTES_MAX = 64 << 20  # accepted but not committed: two groups, one being filled
GROUP_BYTES = 16 << 20  # a transaction's worth: larger ones gain nothing, and hold the lock longer
LINGER_SECONDS = 0.25  # how long a small group waits for more before it is committed
RESERVE_BYTES = 64 << 20  # free disk that is left alone, so that the store never fills the disk
ROOM_PER_BYTE = 2  # disk used per byte of records at worst: 8 KiB blocks take three pages
READER_CHECK_GROUPS = 64  # how often readers that died are forgotten: they pin pages


class Writer:
    """Appends records to one environment. Its thread starts with the first record."""

    def __init__(
        self,
        environment: Environment,
        good: Verified,
        *,
        reserve_bytes: int = RESERVE_BYTES,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        self._environment = environment
        self._good = good
        self._reserve_bytes = reserve_bytes
        self._queue_bytes_max = queue_bytes_max
        self.pending: dict[bytes, Item] = {}
        self._queue: deque[Item] = deque()
        self._bytes = 0  # of the records in `pending`
        self._again: dict[bytes, tuple[int, int]] = {}
        self._accepted = self._written = self._durable = self._wanted = 0
        self._known = self._known_durable = 0  # times that blocks were there already
        self._attempts = self._groups = 0
        self._stuck: StoreFull | None = None
        self._broken: StoreError | None = None
        self._retry = self._closing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def pending_record(self, name: bytes) -> bytes | None:
        item = self.pending.get(name)
        return None if item is None else item.record

    def note_known(self) -> None:
        """Note that somebody relies on blocks that are there: the next sync covers them, too."""
        with self._changed:
            self._known += 1

    def count_again(self, kind_byte: bytes, size: int) -> None:
        """Count a put of a block that was there already."""
        with self._changed:
            # the lock is reentrant: `_accept` holds it already
            self._known += 1
            puts, total = self._again.get(kind_byte, (0, 0))
            self._again[kind_byte] = (puts + 1, total + size)

    def offer(self, items: Sequence[Item]) -> bool:
        """Take the records if there is room now; False: nothing was taken, call `put`."""
        with self._changed:
            if self._broken or self._stuck or self._bytes >= self._queue_bytes_max:
                return False
            self._accept(items)
            return True

    def put(self, items: Sequence[Item]) -> None:
        """Take the records, after waiting for room; StoreFull if they find none on the disk."""
        with self._changed:
            self._try_again()
            self._changed.wait_for(
                lambda: self._broken or self._stuck or self._bytes < self._queue_bytes_max
            )
            self._raise_failure()
            self._accept(items)

    def sync(self) -> None:
        """Return when all records accepted before, and those known before, are on stable storage."""
        with self._changed:
            self._try_again()
            goal, known = self._accepted, self._known
            if goal > self._durable:
                self._wanted = max(self._wanted, goal)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._broken or self._stuck or self._durable >= goal)
            if self._durable < goal or self._broken:
                self._raise_failure()
            if known <= self._known_durable:
                return
        # a block that was there already may be in a commit that nobody has synced
        with store_errors(self._environment.path):
            self._environment.env.sync(True)
        with self._changed:
            self._known_durable = max(self._known_durable, known)

    def close(self) -> None:
        """End the thread; what is still pending then is lost, so `sync` first."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._again and not (self._broken or self._stuck):
            self._write([], self._again, durable=False)
            self._again = {}

    def _accept(self, items: Sequence[Item]) -> None:
        # one batch may pass the bound: it has a bound of its own, and must not wait for ever
        for item in items:
            if item.name in self.pending:
                self.count_again(item.name[-1:], item.size)
                continue
            self.pending[item.name] = item
            self._queue.append(item)
            self._bytes += len(item.record)
            self._accepted += 1
        if self._thread is None and self._queue:
            self._thread = threading.Thread(target=self._run, name="venti-writer", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _try_again(self) -> None:
        self._raise_failure(stuck=False)
        if self._stuck is not None:
            attempts = self._attempts
            self._retry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._attempts != attempts or self._broken)
            self._raise_failure()

    def _raise_failure(self, *, stuck: bool = True) -> None:
        failure = self._broken or (self._stuck if stuck else None)
        if failure is not None:
            raise type(failure)(*failure.args) from failure

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                if not self._is_urgent():
                    self._changed.wait_for(self._is_urgent, LINGER_SECONDS)
                if self._closing and not (self._queue and not self._stuck):
                    return
                group = self._take_group()
                again, self._again = self._again, {}
                durable = self._durable < self._wanted <= self._written + len(group)
            failure = self._write(group, again, durable=durable)
            with self._changed:
                self._finish(group, failure, durable=durable)
                if self._broken is not None:
                    return

    def _has_work(self) -> bool:
        if self._closing:
            return True
        return self._retry if self._stuck else bool(self._queue) or self._wanted > self._durable

    def _is_urgent(self) -> bool:
        return (
            self._closing
            or self._retry
            or self._wanted > self._durable
            or self._bytes >= min(GROUP_BYTES, self._queue_bytes_max)
        )

    def _take_group(self) -> list[Item]:
        group: list[Item] = []
        size = 0
        while self._queue and size < GROUP_BYTES:
            group.append(self._queue.popleft())
            size += len(group[-1].record)
        return group

    def _write(
        self, group: list[Item], again: dict[bytes, tuple[int, int]], *, durable: bool
    ) -> StoreError | None:
        e = self._environment
        try:
            if group or again:
                self._check_room(group)
                append(e, group, self._good, again)
                growth.tell(e.path)
            if durable:
                e.env.sync(True)
            self._groups += 1
            if self._groups % READER_CHECK_GROUPS == 0:
                e.env.reader_check()
        except StoreFull as error:
            return error
        except lmdb.Error as error:
            return store_error(e.path, error)
        except Exception as error:  # noqa: BLE001  who waits for this thread must hear of it
            return StoreError(f"{e.path}: cannot write: {error!r}")
        return None

    def _check_room(self, group: list[Item]) -> None:
        disk = os.statvfs(self._environment.path)
        free = disk.f_bavail * disk.f_frsize - self._reserve_bytes
        if free < ROOM_PER_BYTE * sum(len(item.record) for item in group):
            raise StoreFull(
                f"{self._environment.path}: disk full but for a reserve of {self._reserve_bytes >> 20} MiB"
            )

    def _finish(self, group: list[Item], failure: StoreError | None, *, durable: bool) -> None:
        self._attempts += 1
        self._retry = False
        self._stuck = None
        if failure is None:
            for item in group:
                del self.pending[item.name]
                self._bytes -= len(item.record)
            self._written += len(group)
            if durable:
                self._durable = self._written
        elif isinstance(failure, StoreFull):
            self._queue.extendleft(reversed(group))
            self._stuck = failure
        else:
            self._broken = failure
        self._changed.notify_all()
