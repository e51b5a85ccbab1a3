"""A node as a line for people, and as an object for programs."""

import os
import stat
from datetime import UTC, datetime

from fossil_fs.node import Node

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def as_line(path: bytes, node: Node, target: bytes | None) -> bytes:
    """Return mode, owner, group, size or device, time and path, in columns as ls(1) has them."""
    size = str(node.size)
    if stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
        size = f"{os.major(node.rdev)}, {os.minor(node.rdev)}"
    owner = node.owner or b"%d" % node.uid
    group = node.group or b"%d" % node.gid
    mode = stat.filemode(node.mode).encode()
    line = b"%s %-10s %-10s %11s %s %s" % (
        mode, owner, group, size.encode(), minute(node.mtime_ns).encode(), path,
    )  # fmt: skip
    return line if target is None else b"%s -> %s" % (line, target)


def as_json(path: str, node: Node, target: bytes | None) -> dict[str, object]:
    """Return what a program may want; bytes that are not UTF-8 as os.fsdecode gives them."""
    value: dict[str, object] = {
        "path": path,
        "type": _TYPES[stat.S_IFMT(node.mode)],
        "mode": stat.S_IMODE(node.mode),
        "uid": node.uid,
        "gid": node.gid,
        "owner": os.fsdecode(node.owner),
        "group": os.fsdecode(node.group),
        "size": node.size,
        "mtime_ns": node.mtime_ns,
        "qid": node.qid,
        "nlink": node.nlink,
    }
    if target is not None:
        value["target"] = os.fsdecode(target)
    if node.rdev:
        value["device"] = [os.major(node.rdev), os.minor(node.rdev)]
    if node.link is not None:
        value["link"] = node.link
    return value


def minute(time_ns: int) -> str:
    """Return a time as `2026-01-31 23:59` here, or as seconds since 1970 where no calendar goes."""
    seconds = time_ns // 1_000_000_000
    try:
        local = datetime.fromtimestamp(seconds, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return str(seconds)
    return local.strftime("%Y-%m-%d %H:%M")
