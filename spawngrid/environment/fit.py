"""Whether a root can be an environment, looked at without ever leaving it.

The root may be anybody's: its links may lead anywhere, its directories may be links. Every name is opened
below the root by openat2(2), so nothing of this machine is reached through it.
"""

import os
import stat
from contextlib import suppress
from errno import ELOOP, ENOENT, ENOTDIR, EXDEV
from typing import Final

from spawngrid.environment.interface import UnfitRoot
from spawngrid.environment.kernel import BENEATH, IN_ROOT, NO_LINKS, NO_MAGIC_LINKS, open_below

DIRECTORIES: Final = {
    "proc": 0o555,
    "sys": 0o555,
    "dev": 0o755,
    "srv": 0o755,
    "run": 0o755,
    "etc": 0o755,
}
FILES: Final = ("etc/hostname", "etc/hosts", "etc/machine-id", "etc/resolv.conf")
SHELL: Final = "/bin/sh"
SERVICES: Final = "/etc/spawn.rc"
_STRICT: Final = BENEATH | NO_LINKS | NO_MAGIC_LINKS
_LOOSE: Final = IN_ROOT | NO_MAGIC_LINKS


def make_fit(root: int) -> None:
    """Make sure that a root has a shell, and directories and files to mount on; UnfitRoot.

    What is missing is made, empty: a root that had it is not changed.
    """
    for name, mode in DIRECTORIES.items():
        if _mode_of(root, name, _STRICT) is None:
            os.mkdir(name, mode, dir_fd=root)  # fails if a link has just been there: never followed
        elif not stat.S_ISDIR(_need_mode(root, name)):
            raise UnfitRoot(f"/{name} in this root is not a directory")
    for name in FILES:
        mode_now = _mode_of(root, name, _STRICT, follow=False)
        if mode_now is None:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            os.close(open_below(root, name, flags, _STRICT, 0o644))
        elif not (stat.S_ISREG(mode_now) or stat.S_ISLNK(mode_now)):
            raise UnfitRoot(f"/{name} in this root is not a file")
    mode_now = _mode_of(root, SHELL, _LOOSE)
    if mode_now is None or not stat.S_ISREG(mode_now) or not mode_now & 0o111:
        raise UnfitRoot(f"there is no {SHELL} in this root")


def has_services(root: int) -> bool:
    """Tell whether the root has a file of commands to begin with."""
    mode = _mode_of(root, SERVICES, _LOOSE)
    return mode is not None and stat.S_ISREG(mode)


def host_keys(root: int) -> list[str]:
    """Return which files of ssh host keys the root has, as paths from the root."""
    try:
        folder = open_below(root, "etc/ssh", os.O_RDONLY | os.O_DIRECTORY, _STRICT)
    except OSError:
        return []
    try:
        names = [n for n in os.listdir(folder) if n.startswith("ssh_host_") and "key" in n]
        return sorted(f"etc/ssh/{name}" for name in names if _is_file(folder, name))
    finally:
        os.close(folder)


def _is_file(folder: int, name: str) -> bool:
    mode = _mode_of(folder, name, _STRICT)
    return mode is not None and stat.S_ISREG(mode)


def _need_mode(root: int, name: str) -> int:
    mode = _mode_of(root, name, _STRICT)
    if mode is None:
        raise UnfitRoot(f"/{name} in this root is gone")
    return mode


def _mode_of(root: int, name: str, resolve: int, *, follow: bool = True) -> int | None:
    """Return the mode of what a name leads to; None if nothing is there, UnfitRoot for a way out."""
    flags = os.O_PATH | (0 if follow else os.O_NOFOLLOW)
    if not follow:
        resolve &= ~NO_LINKS
    try:
        descriptor = open_below(root, name, flags, resolve)
    except OSError as error:
        if error.errno == ENOENT:
            return None
        if error.errno in (ELOOP, EXDEV, ENOTDIR):
            raise UnfitRoot(f"/{name.lstrip('/')} in this root is, or is below, a link") from None
        raise
    try:
        return os.fstat(descriptor).st_mode
    finally:
        with suppress(OSError):
            os.close(descriptor)
