"""From a score and a path to a node."""

from typing import ClassVar

from fossil_fs.directory import Directory, Report
from fossil_fs.format.names import show_name
from fossil_fs.node import Node
from fossil_fs.snapshot import Snapshot
from lib9.errors import Exit, SpawngridError


class NoSuchPath(SpawngridError):
    """The tree has no file of this name."""

    exit_code: ClassVar[Exit] = Exit.NOT_FOUND


class NotADirectory(SpawngridError):
    """A directory was meant, and the path names something else."""


async def find(
    snapshot: Snapshot, path: bytes, *, report: Report | None = None
) -> tuple[Node, Directory | None]:
    """Return the node at `path` below the root, and its Directory if it is one.

    Slashes in front, at the end and doubled do not matter; `.` and `..` have no meaning here, and
    symbolic links are not followed. Raises NoSuchPath, NotADirectory, BadTree, and as the store.
    """
    node = snapshot.root
    directory: Directory | None = snapshot.directory(report=report)
    done = b""
    for name in path.split(b"/"):
        if not name:
            continue
        if directory is None:
            raise NotADirectory(f"{show_name(done)}: not a directory")
        done += b"/" + name
        found = await directory.lookup(name)
        if found is None:
            raise NoSuchPath(f"{show_name(done)}: no such file in the tree")
        node, directory = found, directory.child(found) if found.is_dir else None
    return node, directory
