"""Blocks of stores far away, kept near in one LMDB file of a bounded size; the least used go first.

All processes of a user share it. What lies here can be had again, so nothing is synced: a kill of a
process harms nothing, and after a power cut the file is not trusted (`_claim`). Blocks are verified
when they are read, like everywhere.

Tables: `blocks`: score and kind → u64 stamp, record; `order`: u64 stamp → score and kind;
`about`: `bytes` → u64, the pages that records take.
"""

import contextlib
import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import lmdb

from venti_store.codec import BadRecord, encode, read_header, verified
from venti_store.errors import StoreError
from venti_store.interfaces import Block, Key
from venti_store.score import FAMILY_OF_SIZE
from venti_store.stores.lmdb.place import DATA_FILE, check_place

if TYPE_CHECKING:
    from lmdb import _Database

CAP_MIN: Final = 8 << 20
AROUND_BYTES: Final = 256 << 10  # lock file, claim and directory, beside the data file
FILL: Final = (
    0.7  # of the file: the rest is for copies on write, and for holes between large records
)
FRESH: Final = 0.5  # a block used among the newest half is not moved to the front again
PAGE: Final = 4096
RECORD_OVERHEAD: Final = 160  # bytes of keys and headers in both tables
TOUCHED_MAX: Final = 4096  # uses remembered until the next write
CLAIM_SECONDS_MAX: Final = 10.0
_STAMP: Final = struct.Struct(">Q")
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_CLEAN: Final = "clean"


class BlockCache:
    """An open cache. Make one with `open_cache`, and `close` it as often."""

    def __init__(self, path: str, cap_bytes: int) -> None:
        self.path = path
        self.users = 1
        self._claim, self.cap_bytes = _claim(path, cap_bytes)
        self._fill_bytes = int((self.cap_bytes - AROUND_BYTES) * FILL)
        self._env = lmdb.open(
            path,
            map_size=(self.cap_bytes - AROUND_BYTES) // PAGE * PAGE,
            max_dbs=3,
            max_readers=512,
            sync=False,
            metasync=False,
            mode=0o600,
            max_spare_txns=2,
        )
        self._blocks, self._order, self._about = (
            self._env.open_db(name) for name in (b"blocks", b"order", b"about")
        )
        self._touched: dict[bytes, None] = {}
        self._writing = threading.Lock()

    def get(self, keys: Iterable[Key]) -> dict[Key, bytes]:
        """Return those of the blocks that are here and good."""
        found = {}
        with self._env.begin(buffers=True) as txn:
            newest, entries = _newest(txn, self._order), txn.stat(self._order)["entries"]
            stale = newest - int(entries * FRESH)
            for key in keys:
                name = _name(key)
                value = txn.get(name, db=self._blocks)
                if value is None:
                    continue
                try:
                    record = value[_STAMP.size :]
                    header = read_header(record)
                    data = verified(record, header, FAMILY_OF_SIZE[len(key.score)])
                except BadRecord:
                    continue
                if header.score != key.score or header.kind != key.kind:
                    continue
                found[key] = bytes(data)
                if _STAMP.unpack_from(value)[0] < stale and len(self._touched) < TOUCHED_MAX:
                    self._touched[name] = None
        return found

    def put(self, blocks: Sequence[Block]) -> None:
        """Keep verified blocks; blocks on the file's disk and its lock: call it in a thread."""
        records = {
            _name(Key(block.score, block.kind)): encode(block.kind, block.score, block.data)
            for block in blocks
        }
        with self._writing:
            for attempt in range(4):
                try:
                    self._write(records)
                except lmdb.MapFullError:
                    # room in sum, but not in one piece: more of the old has to go
                    self._shrink(self._fill_bytes >> (attempt + 1))
                except lmdb.Error as error:
                    raise StoreError(f"{self.path}: {error}") from None
                else:
                    return
            self._empty()

    def size(self) -> int:
        """Return the bytes that blocks take."""
        with self._env.begin() as txn:
            return _taken(txn, self._about)

    def close(self) -> None:
        """Close it for one of its users; the last process leaves it trusted for the next boot."""
        with _lock:
            self.users -= 1
            if self.users:
                return
            _opened.pop(self.path, None)
        with contextlib.suppress(OSError):
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._env.sync(True)
            _write_claim(self._claim, _CLEAN, self.cap_bytes)
        self._env.close()
        os.close(self._claim)

    def _write(self, records: dict[bytes, bytes]) -> None:
        wanted = sum(map(_pages, records.values()))
        self._shrink(max(0, self._fill_bytes - wanted))
        touched, self._touched = self._touched, {}
        with self._env.begin(write=True) as txn:
            stamp, taken = _newest(txn, self._order), _taken(txn, self._about)
            for name in touched:
                value = txn.get(name, db=self._blocks)
                if value is not None and name not in records:
                    records[name] = value[_STAMP.size :]
            for name, record in records.items():
                old = txn.get(name, db=self._blocks)
                if old is not None:
                    txn.delete(old[: _STAMP.size], db=self._order)
                    taken -= _pages(old[_STAMP.size :])
                stamp += 1
                txn.put(name, _STAMP.pack(stamp) + record, db=self._blocks)
                txn.put(_STAMP.pack(stamp), name, db=self._order, append=True)
                taken += _pages(record)
            txn.put(b"bytes", _STAMP.pack(taken), db=self._about)

    def _shrink(self, size: int) -> None:
        """Let go of the oldest blocks until the others take at most `size` bytes."""
        while self.size() > size:
            with self._env.begin(write=True) as txn:
                taken = _taken(txn, self._about)
                for stamp, name in _oldest(txn, self._order):
                    if taken <= size:
                        break
                    value = txn.get(name, db=self._blocks)
                    if value is not None:
                        taken -= _pages(value[_STAMP.size :])
                        txn.delete(name, db=self._blocks)
                    txn.delete(stamp, db=self._order)
                else:
                    if not txn.stat(self._order)["entries"]:
                        taken = 0
                txn.put(b"bytes", _STAMP.pack(max(0, taken)), db=self._about)

    def _empty(self) -> None:
        with self._env.begin(write=True) as txn:
            for table in (self._blocks, self._order, self._about):
                txn.drop(table, delete=False)


_opened: dict[str, BlockCache] = {}
_lock = threading.Lock()
SHRINK_AT_ONCE: Final = 256  # blocks let go of in one transaction: it needs pages itself


def open_cache(path: str, cap_bytes: int) -> BlockCache:
    """Open the cache in the directory `path`, made if missing; it never takes more than `cap_bytes`.

    A cache that other processes are using keeps the size they gave it. StoreError if it cannot be.
    """
    if cap_bytes < CAP_MIN:
        raise StoreError(f"{path}: a cache needs {CAP_MIN >> 20} MiB at least")
    os.makedirs(path, mode=0o700, exist_ok=True)
    check_place(path)
    path = os.path.realpath(path)
    # LMDB forbids to open one file twice in a process
    with _lock:
        cache = _opened.get(path)
        if cache is not None:
            cache.users += 1
            return cache
        try:
            cache = _opened[path] = BlockCache(path, cap_bytes)
        except lmdb.Error as error:
            raise StoreError(f"{path}: {error}") from None
        return cache


def _claim(path: str, cap_bytes: int) -> tuple[int, int]:
    """Make sure that the file can be trusted, or is gone; return the claim's descriptor and the cap.

    Who has the cache open holds a shared lock on the claim, which names this boot. If it names
    another, the machine went down with the cache open, and pages may be missing: away with it.
    """
    descriptor = os.open(os.path.join(path, "claim"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(_BOOT_ID, encoding="ascii") as file:
        boot = file.read().strip()
    deadline = time.monotonic() + CLAIM_SECONDS_MAX
    while True:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        said, _, cap = os.pread(descriptor, 200, 0).decode("ascii", "replace").partition(" ")
        old_cap = int(cap) if cap.strip().isdigit() else 0
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if said == boot:
                return descriptor, old_cap  # others have it open, and trust it
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise StoreError(f"{path}: cannot be claimed") from None
            time.sleep(0.01)
            continue
        if said not in (boot, _CLEAN) or old_cap > cap_bytes:
            for name in (DATA_FILE, "lock.mdb"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(path, name))
        _write_claim(descriptor, boot, cap_bytes)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return descriptor, cap_bytes


def _write_claim(descriptor: int, said: str, cap_bytes: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{said} {cap_bytes}\n".encode(), 0)
    os.fsync(descriptor)


def _name(key: Key) -> bytes:
    return key.score + bytes([key.kind])


def _pages(record: bytes) -> int:
    """Return the bytes that a record takes in the file, about: large ones have pages of their own."""
    size = len(record) + _STAMP.size
    if size < PAGE // 2 - 64:
        return size + RECORD_OVERHEAD
    return -(-(size + 16) // PAGE) * PAGE + RECORD_OVERHEAD


def _newest(
    txn: "lmdb.Transaction[memoryview] | lmdb.Transaction[bytes]", order: "_Database"
) -> int:
    cursor = txn.cursor(order)
    return int(_STAMP.unpack(cursor.key())[0]) if cursor.last() else 0


def _taken(txn: "lmdb.Transaction[bytes]", about: "_Database") -> int:
    value = txn.get(b"bytes", db=about)
    return int(_STAMP.unpack(value)[0]) if value else 0


def _oldest(txn: "lmdb.Transaction[bytes]", order: "_Database") -> list[tuple[bytes, bytes]]:
    cursor = txn.cursor(order)
    batch: list[tuple[bytes, bytes]] = []
    more = cursor.first()
    while more and len(batch) < SHRINK_AT_ONCE:
        batch.append((bytes(cursor.key()), bytes(cursor.value())))
        more = cursor.next()
    return batch
