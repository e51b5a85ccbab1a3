"""The LMDB environment of a store: its tables, how it is made, and how it is opened once.

LMDB forbids to open one environment twice in a process, so openings of one store share it.
"""

import errno
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import lmdb

from venti_store.errors import HashMismatch, StoreError, StoreFull
from venti_store.kind import Kind
from venti_store.score import FAMILIES, Family
from venti_store.stores.lmdb.place import DATA_FILE, check_owner, check_place

if TYPE_CHECKING:
    from lmdb import _Database

FORMAT: Final = 1  # a program opens stores up to its own number
MAP_SIZE: Final = 1 << 40  # address space only: the file grows as it is filled
UNWRITTEN_MAX: Final = (
    1 << 20
)  # bytes at the end of the file that a transaction took and freed again
READERS_MAX: Final = 1024  # read transactions at one time, in all processes: they last microseconds

TABLES: Final = {
    "about": "text key → text: `format` (1), `hash` (blake3 or sha1), `id` (32 hex digits, random)",
    "log": "u64 number, from 1, without gaps → record",
    "index": "score, then the kind's byte (0: a name) → u64 number of the copy in use",
    "names": "u64 number of a name record in the log → nothing",
    "counts": "kind's byte → 5 × u64, see below",
}
NUMBER: Final = struct.Struct(">Q")
KIND_BYTE: Final[dict[Kind | None, bytes]] = {None: b"\0", **{k: bytes([k]) for k in Kind}}


@dataclass(slots=True, eq=False)
class Environment:
    """An open store file. Shared by all that opened it in this process; see `opened`."""

    path: str
    env: lmdb.Environment
    about: "_Database"
    log: "_Database"
    index: "_Database"
    names: "_Database"
    counts: "_Database"
    family: Family
    store_id: str
    identity: tuple[int, int]
    users: int = 1
    pid: int = field(default_factory=os.getpid)

    def check_process(self) -> None:
        """Raise StoreError in a child of the process that opened the store.

        LMDB's file must not be used there, nor be closed: that would end the parent's reads.
        """
        if self.pid != os.getpid():
            raise StoreError(f"{self.path}: opened before a fork; open it after the fork")


_opened: dict[tuple[int, int], Environment] = {}
_lock = threading.Lock()


def create(path: str, family: Family) -> str:
    """Make an empty store in the directory `path` (made if missing, 0700) and return its id.

    StoreError if something else is there already. Safe against a second maker at the same time.
    """
    os.makedirs(path, mode=0o700, exist_ok=True)
    check_place(path)
    if not set(os.listdir(path)) <= {DATA_FILE, "lock.mdb"}:
        raise StoreError(f"{path}: not empty")
    store_id = os.urandom(16).hex()
    with store_errors(path), _lock, _environment(path, create=True) as env:
        tables = {name: env.open_db(name.encode()) for name in TABLES}
        with env.begin(write=True, db=tables["about"]) as txn:
            made = txn.put(b"format", b"%d" % FORMAT, overwrite=False)
            if made:
                txn.put(b"hash", family.name.encode())
                txn.put(b"id", store_id.encode())
        env.sync(True)
    if not made:
        raise StoreError(f"{path}: there is a store already")
    return store_id


def acquire(path: str, family: Family | None = None) -> Environment:
    """Open the store at `path`, which must exist; every call needs a `release`.

    Raises StoreMissing, StoreError, or HashMismatch if it is not of `family`.
    """
    check_owner(path)
    check_place(path)
    status = os.stat(os.path.join(path, DATA_FILE))
    identity = (status.st_dev, status.st_ino)
    with _lock:
        opened = _opened.get(identity)
        if opened is not None:
            opened.check_process()
            opened.users += 1
        else:
            with store_errors(path):
                opened = _opened[identity] = _open(path, identity)
    if family not in (None, opened.family):
        release(opened)
        raise HashMismatch(f"{path}: a store of {opened.family.name} scores")
    return opened


def release(environment: Environment) -> None:
    """Undo one `acquire`; the last one closes the files."""
    with _lock:
        environment.users -= 1
        if environment.users == 0 and environment.pid == os.getpid():
            del _opened[environment.identity]
            environment.env.close()


def _environment(path: str, *, create: bool) -> lmdb.Environment:
    return lmdb.open(
        path,
        map_size=MAP_SIZE,
        max_dbs=len(TABLES),
        max_readers=READERS_MAX,
        metasync=False,  # a commit may be lost with the power, never damaged; `sync` makes it last
        mode=0o600,
        create=create,
        max_spare_txns=4,
    )


def _open(path: str, identity: tuple[int, int]) -> Environment:
    env = _environment(path, create=False)
    try:
        _check_size(path, env)
        env.reader_check()
        about = env.open_db(b"about", create=False)
        with env.begin(db=about) as txn:
            version, name, store_id = (txn.get(key, b"") for key in (b"format", b"hash", b"id"))
        family = _known(path, version, name)
        log, index, names, counts = (
            env.open_db(t, create=False) for t in (b"log", b"index", b"names", b"counts")
        )
        return Environment(
            path=path,
            env=env,
            about=about,
            log=log,
            index=index,
            names=names,
            counts=counts,
            family=family,
            store_id=store_id.decode(),
            identity=identity,
        )
    except BaseException:
        env.close()
        raise


def _check_size(path: str, env: lmdb.Environment) -> None:
    """Raise StoreError if the file ends before its pages do: reading them would kill the process."""
    pages, page_size = int(env.info()["last_pgno"]) + 1, int(env.stat()["psize"])
    size = os.stat(os.path.join(path, DATA_FILE)).st_size
    if size + UNWRITTEN_MAX < pages * page_size:
        raise StoreError(f"{path}: cut short: {size} bytes are left of {pages * page_size}")


def _known(path: str, version: bytes, name: bytes) -> Family:
    family = FAMILIES.get(name.decode("ascii", "replace"))
    if not version.isdigit() or (int(version) <= FORMAT and family is None):
        raise StoreError(f"{path}: not a venti store")
    if int(version) > FORMAT or family is None:
        raise StoreError(
            f"{path}: format {int(version)} is newer than this program knows ({FORMAT})"
        )
    return family


@contextmanager
def store_errors(path: str) -> Iterator[None]:
    """Turn LMDB's errors into StoreError, or StoreFull where there is no space."""
    try:
        yield
    except lmdb.Error as error:
        raise store_error(path, error) from error


def store_error(path: str, error: lmdb.Error) -> StoreError:
    """Return the error of ours for one of LMDB's."""
    if isinstance(error, lmdb.MapFullError) or error.code in _FULL:
        return StoreFull(f"{path}: no space: {error}")
    if isinstance(error, lmdb.NotFoundError | lmdb.InvalidError):
        return StoreError(f"{path}: not a venti store")
    return StoreError(f"{path}: {error}")


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
