"""Where a store may lie: a local disk, and owned by whoever opens it.

LMDB shares memory between its processes through the file's pages. File systems over a network do
not keep those the same on two machines, and one served by a process of ours would wait for itself.
"""

import os
import re
from collections.abc import Iterable

from venti_store.errors import StoreError, StoreMissing

DATA_FILE = "data.mdb"

# fmt: off
NETWORK = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs",
))
# fmt: on
FUSE_ALLOWED = frozenset(["fuse.fuse-overlayfs"])  # the root of many an unprivileged container

_ESCAPE = re.compile(r"\\([0-7]{3})")


def check_place(path: str) -> None:
    """Raise StoreError if the file system that holds `path` cannot carry a store."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        kind = file_system_of(os.path.realpath(path), lines)
    if kind in NETWORK:
        raise StoreError(f"{path}: on a network file system ({kind}); use its server's address")
    if kind == "fuse" or (kind.startswith("fuse.") and kind not in FUSE_ALLOWED):
        raise StoreError(f"{path}: on a file system of a user process ({kind}), not on a disk")


def file_system_of(path: str, mountinfo: Iterable[str]) -> str:
    """Return the type of the mount that holds `path`, an absolute path without symlinks."""
    best, kind = "", ""
    for line in mountinfo:
        fields = line.split(" ")
        point = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields[4]).rstrip("/")
        # of mounts on one point the last is the one that is seen
        if len(point) >= len(best) and (path == point or path.startswith(point + "/")):
            best, kind = point, fields[fields.index("-", 6) + 1]
    return kind


def check_owner(path: str) -> None:
    """Raise StoreMissing if there is no store at `path`, StoreError if it belongs to another user."""
    try:
        status = os.stat(os.path.join(path, DATA_FILE))
    except FileNotFoundError:
        if os.path.exists(path):
            raise StoreError(f"{path}: not a venti store") from None
        raise StoreMissing(f"{path}: no store here (`venti init {path}` makes one)") from None
    except NotADirectoryError:
        raise StoreError(f"{path}: not a venti store") from None
    except PermissionError:
        raise StoreError(f"{path}: another user's store; use the address of its server") from None
    if status.st_uid != os.geteuid():
        raise StoreError(
            f"{path}: the store of user {status.st_uid}; use the address of its server"
        )
