"""Places to mount on, below a root that may be anybody's, in which no program runs.

Links are followed as the root's own programs would follow them, never to a place outside it. What is not
there is made, empty.
"""

import os
import posixpath
from typing import Final

from spawngrid.environment.kernel import IN_ROOT, NO_LINKS, NO_MAGIC_LINKS, open_below

_STRICT: Final = IN_ROOT | NO_LINKS | NO_MAGIC_LINKS
_LOOSE: Final = IN_ROOT | NO_MAGIC_LINKS
_LINKS_MAX: Final = 40  # as many as the kernel follows


def reach_directory(root: int, path: str) -> int:
    """Return a descriptor of a directory, none of whose names is a link; OSError."""
    try:
        return open_below(root, path, os.O_PATH | os.O_DIRECTORY, _STRICT)
    except FileNotFoundError:
        above = reach_directory(root, posixpath.dirname(path))
    try:
        os.mkdir(posixpath.basename(path), 0o755, dir_fd=above)
    finally:
        os.close(above)
    return open_below(root, path, os.O_PATH | os.O_DIRECTORY, _STRICT)


def reach_file(root: int, path: str) -> int:
    """Return a descriptor of a file, wherever the root's links lead; OSError."""
    try:
        return open_below(root, path, os.O_PATH, _LOOSE)
    except FileNotFoundError:
        path = _end(root, path)
    above = reach_directory(root, posixpath.dirname(path))
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        os.close(os.open(posixpath.basename(path), flags, 0o644, dir_fd=above))
    finally:
        os.close(above)
    return open_below(root, path, os.O_PATH, _STRICT)


def _end(root: int, path: str) -> str:
    """Return the path, without links, to which one leads that has nothing at its end."""
    done, left, links = "/", path.strip("/").split("/"), 0
    while left:
        name = left.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            done = posixpath.dirname(done)
            continue
        target = _link(root, posixpath.join(done, name))
        if target is None:
            done = posixpath.join(done, name)
            continue
        links += 1
        if links > _LINKS_MAX:
            raise OSError(40, "too many links", path)
        left = target.split("/") + left
        if target.startswith("/"):
            done = "/"
    return done


def _link(root: int, path: str) -> str | None:
    """Return where a link leads; None if it is none, or nothing is there."""
    try:
        found = open_below(root, path, os.O_PATH | os.O_NOFOLLOW, IN_ROOT | NO_MAGIC_LINKS)
    except FileNotFoundError:
        return None
    try:
        return os.readlink("", dir_fd=found)
    except OSError:  # not a link
        return None
    finally:
        os.close(found)
