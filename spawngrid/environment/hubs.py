"""The hubs of environments: one hub mount for the node, a group of hubs in it for each environment.

    io0 io1 io2 io.note    its shell, as `hub` knows it
    log                    what its services have to say

A guest may write to them, no more: who waits in a hub for something to read could not be stopped for a
save. Its shell reads a pipe that the keeper fills from io0.
"""

import os
import subprocess
import sys
from contextlib import suppress
from typing import Final

from hubfs.shell.hubs import ShellHubs, open_reader, write_all
from hubfs.shell.places import is_hub_mount
from lib9.fuse import mounts
from lib9.places import private_directory
from spawngrid.environment.interface import StartFailed
from spawngrid.environment.places import SHELL, Own, Places

HUBS_PER_ENVIRONMENT: Final = 5
HUBS_MAX: Final = 2048
KEPT_BYTES: Final = 128 << 10  # of each hub: 2,048 hubs are never more than 256 MiB
MESSAGE_MAX: Final = 64 << 10
RATE_BYTES: Final = (
    8 << 20
)  # a second into each hub, so that one that floods leaves room for others
LOG: Final = "log"
GUEST_MODE: Final = 0o622


def ensure_mounted(places: Places) -> None:
    """Mount the node's hubs if they are not; a dead mount goes first. StartFailed."""
    point = places.hub_mount
    if is_hub_mount(point):
        return
    private_directory(places.run)
    private_directory(os.path.dirname(point))
    with suppress(OSError):
        mounts.clean_dead(os.fsencode(point))
    os.makedirs(point, exist_ok=True)
    options = ["--allow-other", "-s", os.path.basename(point), "--hubs", str(HUBS_MAX)]
    options += ["-q", str(KEPT_BYTES), "-l", str(MESSAGE_MAX), "-b", str(RATE_BYTES), "-r", "1"]
    command = [sys.executable, "-m", "hubfs.cli.hubfs", *options]
    log = os.path.join(os.path.dirname(point), f".{os.path.basename(point)}.log")
    done = subprocess.run([*command, "--log", log, "--", point], capture_output=True, check=False)
    if done.returncode:
        said = os.fsdecode(done.stderr.strip().splitlines()[-1]) if done.stderr.strip() else ""
        raise StartFailed(said or f"{point}: hubfs did not start")


def make(own: Own) -> None:
    """Make an environment's hubs; who reads its input from now on misses nothing."""
    os.mkdir(own.hubs, 0o700)
    shell = ShellHubs(own.node.hub_mount, own.shell)
    shell.make(terminal=False)
    log = os.path.join(own.hubs, LOG)
    os.close(os.open(log, os.O_CREAT | os.O_WRONLY, 0o600))
    for path in (shell.input, shell.output, shell.errors, log):
        os.chmod(path, GUEST_MODE)
    shell.tell(f"trunc {own.shell}0")  # a keeper that is started anew repeats no command


def exist(own: Own) -> bool:
    return os.path.exists(os.path.join(own.hubs, LOG))


def guest_files(own: Own) -> list[tuple[str, str]]:
    """Return which hub is seen where inside."""
    names = [f"{SHELL}0", f"{SHELL}1", f"{SHELL}2", LOG]
    return [(os.path.join(own.hubs, name), f"/srv/{name}") for name in names]


def remove(own: Own) -> bool:
    """Remove an environment's hubs, as far as there are any; tell whether there were."""
    if not is_hub_mount(own.node.hub_mount):
        return False
    try:
        names = os.listdir(own.hubs)
    except OSError:
        return False
    for name in names:
        with suppress(OSError):
            os.unlink(os.path.join(own.hubs, name))
    with suppress(OSError):
        os.rmdir(own.hubs)
    return True


def groups(places: Places) -> list[str]:
    """Return the names of the groups there are."""
    if not is_hub_mount(places.hub_mount):
        return []
    try:
        with os.scandir(places.hub_mount) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []


def say(own: Own, line: str) -> None:
    """Give the environment's shell a line."""
    write_all(ShellHubs(own.node.hub_mount, own.shell).input, f"{line}\n".encode())


def readers(own: Own) -> tuple[int, int]:
    """Return descriptors that read the shell's input and its notes, without waiting."""
    shell = ShellHubs(own.node.hub_mount, own.shell)
    return open_reader(shell.input), open_reader(shell.note)


def shell_outputs(own: Own) -> tuple[int, int]:
    """Return descriptors that the shell writes to."""
    shell = ShellHubs(own.node.hub_mount, own.shell)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    return os.open(shell.output, flags), os.open(shell.errors, flags)
