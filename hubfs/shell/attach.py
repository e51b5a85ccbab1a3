"""Attaching to shells, one after the other, as the user goes from one to the next."""

import subprocess
import sys

from hubfs.errors import MountGone, NoSuchHub
from hubfs.shell.client import Client
from hubfs.shell.hubs import ShellHubs, is_gone


def attach(mount: str, shell: str) -> None:
    """Attach to a shell of a hub mount until the user leaves.

    NoSuchHub if it does not run, MountGone when the mount ends.
    """
    try:
        _attach(mount, shell)
    except OSError as error:
        if is_gone(error):
            raise MountGone(f"{mount}: the hub mount has ended") from None
        raise


def _attach(mount: str, shell: str) -> None:
    name: str | None = shell
    typed = b""
    while name is not None:
        hubs = ShellHubs(mount, name)
        if not hubs.exist():
            raise NoSuchHub(f"{name}: no such shell on {mount}")
        following = Client(hubs, typed=typed).run()
        name, typed = following.name, following.typed
        if name is not None and following.make_here:
            start_host(mount, name, terminal=False)


def start_host(mount: str, shell: str, *, terminal: bool) -> None:
    """Start the host of a new shell in the background; returns when its hubs are there."""
    hubs = ShellHubs(mount, shell)
    hubs.make(terminal=terminal)
    command = [sys.executable, "-m", "hubfs.shell.host", mount, shell]
    try:
        subprocess.Popen(
            command + (["--terminal"] if terminal else []),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        hubs.remove()
        raise
