"""Where things of ours lie, by the XDG base directories; `environ` is passed in by cli modules."""

import os
from collections.abc import Mapping

PROJECT = "spawngrid"
_environ: Mapping[str, str] = {}


def use(environ: Mapping[str, str]) -> None:
    """Let `config_file` look here: `lib9.cli` calls it once, before a command runs."""
    global _environ  # noqa: PLW0603  one process has one environment
    _environ = environ


def config_file(name: str) -> str:
    """Return the path of a file of this user's configuration: `key`, `ndb`."""
    return os.path.join(_base(_environ, "XDG_CONFIG_HOME", ".config"), PROJECT, name)


def cache_file(name: str) -> str:
    """Return the path of something of this user's that can be made again: `venti`."""
    return os.path.join(cache_directory(_environ), name)


def data_directory(environ: Mapping[str, str]) -> str:
    """Return where what must be kept lies by default: stores, names."""
    return _base(environ, "XDG_DATA_HOME", ".local/share")


def state_directory(environ: Mapping[str, str]) -> str:
    """Return where what outlives a reboot but belongs to this machine lies: scratches."""
    return _base(environ, "XDG_STATE_HOME", ".local/state")


def cache_directory(environ: Mapping[str, str]) -> str:
    """Return where what can be made again lies."""
    return _base(environ, "XDG_CACHE_HOME", ".cache")


def run_directory(environ: Mapping[str, str]) -> str:
    """Return where running things are found: `$XDG_RUNTIME_DIR/spawngrid`, of root /run/spawngrid.

    Without either it is /tmp/spawngrid-UID, for which `private_directory` makes sure of the owner.
    """
    base = environ.get("XDG_RUNTIME_DIR")
    if base:
        return os.path.join(base, PROJECT)
    return f"/run/{PROJECT}" if os.geteuid() == 0 else f"/tmp/{PROJECT}-{os.getuid()}"


def private_directory(path: str) -> str:
    """Make a directory (and those above it) for this user alone, and return it.

    PermissionError if it is there and someone else's, or others may write to it.
    """
    os.makedirs(path, mode=0o700, exist_ok=True)
    status = os.lstat(path)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(1, "not this user's alone", path)
    return path


def _base(environ: Mapping[str, str], variable: str, below_home: str) -> str:
    base = environ.get(variable)
    # a relative path in these variables is invalid by the XDG specification
    if base and os.path.isabs(base):
        return base
    home = environ.get("HOME") or os.path.expanduser("~")
    return os.path.join(home, below_home)
