"""Where a scratch is: a directory with an identity and a lock.

identity    ndb record: format, id, base score and store at creation, cap
lock        locked by the one process that has the scratch open
metadata, journal, data/N
"""

import errno
import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from fossil_fs.scratch.errors import NoSuchScratch, ScratchError, ScratchForeign, ScratchInUse
from fossil_fs.scratch.holes import KEEP_SIZE, PAGE, PUNCH_HOLE, fallocate, present
from ndbdb.parser import parse, unparse
from ndbdb.record import Record

FORMAT: Final = 1
_IDENTITY_SIZE_MAX: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Identity:
    """What a scratch belongs to. `size` is its cap in bytes; `base` the score that was mounted."""

    id: str
    base: str
    store: str
    family: str
    size: int
    ram: bool = False


def new_id() -> str:
    """Return a name for a scratch that no other has."""
    return os.urandom(6).hex()


def create_place(directory: bytes, identity: Identity) -> None:
    """Make the directory of a new scratch, its parents too; it appears whole or not at all."""
    parent, name = os.path.split(directory.rstrip(b"/"))
    os.makedirs(parent or b".", mode=0o700, exist_ok=True)
    if os.path.lexists(directory) and (os.path.islink(directory) or os.listdir(directory)):
        raise ScratchError(f"{os.fsdecode(directory)}: not an empty directory")
    draft = os.path.join(parent, b".%s.%s" % (name, os.urandom(4).hex().encode()))
    os.mkdir(draft, 0o700)
    try:
        _need_holes(draft)
        with open(os.path.join(draft, b"identity"), "wb") as file:
            file.write(unparse(_to_record(identity)).encode(errors="surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        with open(os.path.join(draft, b"lock"), "wb"):
            pass
        os.mkdir(os.path.join(draft, b"data"), 0o700)
        sync_directory(draft)
        os.rename(draft, directory)
    except BaseException:
        remove_tree(draft)
        raise
    sync_directory(parent or b".")


def _need_holes(directory: bytes) -> None:
    """Refuse a file system that cannot tell holes from data: the map of changes would be wrong."""
    probe = os.path.join(directory, b"probe")
    descriptor = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, bytes(PAGE), 8 * PAGE)
        os.pwrite(descriptor, b"1", 10 * PAGE)
        found = list(present(descriptor, 0, 64 * PAGE))
        fallocate(descriptor, KEEP_SIZE | PUNCH_HOLE, 8 * PAGE, PAGE)
        found += present(descriptor, 0, 64 * PAGE)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        found = []
    finally:
        os.close(descriptor)
        os.unlink(probe)
    first, second = (8 * PAGE, 9 * PAGE), (10 * PAGE, 11 * PAGE)
    if found != [first, second, second]:
        raise ScratchError(f"{os.fsdecode(directory)}: this file system does not tell its holes")


def read_identity(directory: bytes) -> Identity:
    """Return a scratch's identity; NoSuchScratch, ScratchForeign."""
    shown = os.fsdecode(directory)
    try:
        with open(os.path.join(directory, b"identity"), "rb") as file:
            text = file.read(_IDENTITY_SIZE_MAX)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoSuchScratch(f"{shown}: no scratch here") from error
    record = next(parse(text.decode(errors="surrogateescape"), shown), None)
    if record is None or record.get("scratch") is None:
        raise ScratchForeign(f"{shown}: its identity file is torn or not of a scratch")
    if record.get("format") != str(FORMAT):
        raise ScratchForeign(f"{shown}: format {record.get('format')}, this program knows {FORMAT}")
    try:
        return Identity(
            id=record.need("scratch"),
            base=record.need("score"),
            store=record.need("store"),
            family=record.need("hash"),
            size=int(record.need("size")),
            ram=record.get("place") == "ram",
        )
    except (ScratchError, ValueError) as error:
        raise ScratchForeign(f"{shown}: its identity file makes no sense") from error


def _to_record(identity: Identity) -> Record:
    return Record.of(
        ("scratch", identity.id),
        ("format", str(FORMAT)),
        ("score", identity.base),
        ("store", identity.store),
        ("hash", identity.family),
        ("size", str(identity.size)),
        ("place", "ram" if identity.ram else "disk"),
    )


def lock_place(directory: bytes) -> int:
    """Return a descriptor that holds the scratch until it is closed; ScratchInUse."""
    try:
        descriptor = os.open(os.path.join(directory, b"lock"), os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoSuchScratch(f"{os.fsdecode(directory)}: no scratch here") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ScratchInUse(f"{os.fsdecode(directory)}: in use by another process") from error
    return descriptor


def is_in_use(directory: bytes) -> bool:
    """Tell whether a process has the scratch open."""
    try:
        os.close(lock_place(directory))
    except ScratchInUse:
        return True
    return False


def sync_directory(directory: bytes) -> None:
    """Put a directory's names on stable storage."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(directory: bytes) -> None:
    """Remove a scratch's directory and what is in it; what is not there already is no error."""
    for where, folders, names in os.walk(directory, topdown=False):
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(where, name))
        for name in folders:
            os.rmdir(os.path.join(where, name))
    with suppress(FileNotFoundError):
        os.rmdir(directory)
