"""Owner, mode, extended attributes and time of a restored file, in the order in which they last."""

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from fossil_fs.format.names import show_name
from fossil_fs.format.xattrs import Xattrs
from fossil_fs.node import Node

ACCESS_ACL: Final = b"system.posix_acl_access"
DEFAULT_ACL: Final = b"system.posix_acl_default"

_PRIVILEGED: Final = stat.S_ISUID | stat.S_ISGID
_REFUSED: Final = frozenset({errno.EPERM, errno.EACCES, errno.EINVAL})

Lost = Callable[[str], None]


def apply(fd: int, node: Node, xattrs: Xattrs, lost: Lost, *, only_path: bool = False) -> None:
    """Make the file open as `fd` what `node` says; `lost` is told what could not be.

    `only_path`: `fd` was opened with O_PATH, as what cannot be opened otherwise has to be. The owner
    comes first, since a change of owner clears set-user-id bits and capabilities; then the mode,
    which would cut an ACL's mask; the time last.
    """
    target: int | bytes = b"/proc/self/fd/%d" % fd if only_path else fd
    state = os.fstat(fd)
    mode = stat.S_IMODE(node.mode)
    if not _apply_owner(target, node, state):
        lost("owner")
        mode &= ~_PRIVILEGED  # they meant another owner
    _drop_inherited(target, xattrs, node)
    if not node.is_symlink:
        try:
            os.chmod(target, mode)
        except OSError as error:
            lost(f"mode ({error.strerror})")
    for name, value in xattrs:
        _set(target, name, value, lost)
    os.utime(target, ns=(node.mtime_ns, node.mtime_ns))


def _set(target: int | bytes, name: bytes, value: bytes, lost: Lost) -> None:
    try:
        os.setxattr(target, name, value)
    except OSError as error:
        lost(f"extended attribute {show_name(name)} ({error.strerror})")


def _apply_owner(target: int | bytes, node: Node, state: os.stat_result) -> bool:
    uid = -1 if node.uid == state.st_uid else node.uid
    gid = -1 if node.gid == state.st_gid else node.gid
    if uid == gid == -1:
        return True
    try:
        os.chown(target, uid, gid)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
    else:
        return True
    if uid != -1 and gid != -1:
        try:
            os.chown(target, -1, gid)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
    return False


def _drop_inherited(target: int | bytes, xattrs: Xattrs, node: Node) -> None:
    """Remove the ACLs that the file has from its directory's default ACL, not from the archive."""
    if node.is_symlink:
        return
    wanted = {name for name, _ in xattrs}
    for name in (ACCESS_ACL, DEFAULT_ACL):
        if name in wanted or (name == DEFAULT_ACL and not node.is_dir):
            continue
        try:
            os.removexattr(target, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise
