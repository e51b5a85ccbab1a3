"""The mounts, devices and covers of an OCI configuration, put into an environment before anything runs in it.

    outside   copies of what comes from this machine: files, devices, its /sys
    between   in the environment's namespaces but for mounts: file systems of its own. A new /proc or /sys is
              allowed only where another is seen whole, so not inside
    inside    all is put in place, in the configuration's order; every name is looked up below the root

No program of the root runs yet: what it has of links and files stands still. Source: the OCI runtime
specification 1.0.2, "Mounts", "Default Devices", "Masked Paths", "Readonly Paths".
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from spawngrid.environment import detached, kernel, rights
from spawngrid.environment.cgroups.group import read_layout
from spawngrid.environment.interface import StartFailed
from spawngrid.environment.runtimes.reaching import reach_directory, reach_file

DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
LINKS: Final = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
}
_MEMORY: Final = "/proc/kcore"  # where there is one, there is a link to it
_HERE: Final = -100  # AT_FDCWD
_BESIDE_MOUNTS: Final = (
    kernel.NEW_USERS
    | kernel.NEW_PROCESSES
    | kernel.NEW_IPC
    | kernel.NEW_NAMES
    | kernel.NEW_CGROUPS
    | kernel.NEW_NETWORK
)
_TOLD_SIZE_MAX: Final = 4096

Trees = dict[str, int]  # where a detached mount goes, and the mount


def mount_all(process: int, configuration: Mapping[str, Any]) -> None:
    """Put in place what the process of a pidfd is to see; StartFailed.

    It has namespaces of its own already, and the root in its place. This process's mount namespace is this
    machine's, or a copy.
    """
    copies = _outside(configuration["mounts"])
    try:
        told = _in_child(lambda: _between(process, configuration, copies))
    finally:
        for tree in copies.values():
            os.close(tree)
    if told:
        raise StartFailed(f"what is seen inside: {told}")


def _outside(mounts: list[dict[str, Any]]) -> Trees:
    trees = {}
    for mount in mounts:
        options = mount["options"]
        if "bind" in options or "rbind" in options:
            attributes = [name for name in options if name in ("nosuid", "nodev", "noexec", "ro")]
            attributes += ["ro"] * ("rro" in options)
            trees[mount["destination"]] = detached.copy(
                _HERE, mount["source"], attributes=attributes, whole="rbind" in options
            )
    for name in DEVICES:
        path = f"/dev/{name}"
        trees[path] = detached.copy(_HERE, path, attributes=())
    return trees


def _between(process: int, configuration: Mapping[str, Any], copies: Trees) -> None:
    hierarchies = _hierarchies()
    kernel.enter(process, _BESIDE_MOUNTS)
    rights.be_root_inside()
    kernel.unshare(kernel.NEW_MOUNTS)
    told = _in_child(lambda: _inside(process, configuration, copies, hierarchies))
    if told:
        raise OSError(told)


def _inside(
    process: int, configuration: Mapping[str, Any], copies: Trees, hierarchies: list[str]
) -> None:
    trees: Trees = {}
    for mount in configuration["mounts"]:
        target, kind, options = mount["destination"], mount["type"], mount["options"]
        if target in copies:
            trees[target] = copies[target]
        elif kind == "cgroup":
            trees |= _groups(target, options, hierarchies)
        else:
            trees[target] = detached.make(kind, options)
    trees |= {path: copies[path] for path in copies if path not in trees}
    kernel.enter(process, kernel.NEW_MOUNTS)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.umask(0)
    for target, tree in trees.items():
        _put(root, target, tree)
    _link(hierarchies)
    for path in configuration["linux"]["maskedPaths"]:
        _cover(path)
    for path in configuration["linux"]["readonlyPaths"]:
        _forbid_writing(path)


def _put(root: int, target: str, tree: int) -> None:
    reach = reach_directory if stat.S_ISDIR(os.fstat(tree).st_mode) else reach_file
    place = reach(root, target)
    try:
        detached.put(tree, place)
    finally:
        os.close(place)


def _hierarchies() -> list[str]:
    """Return the trees of cgroups that environments have groups in, by controllers; [] for version 2 alone.

    In one that this machine has not mounted they have none, and would see all others'.
    """
    layout = read_layout()
    if layout.is_pure:
        return []
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        trees = [names for line in file if (names := line.split(":")[1])]
    return [t for t in trees if layout.v1.keys() & set(t.removeprefix("name=").split(","))]


def _groups(target: str, options: list[str], hierarchies: list[str]) -> Trees:
    """Return what shows an environment its own cgroups."""
    if not hierarchies:
        return {target: detached.make("cgroup2", options)}
    beside = [option for option in options if option != "ro"]
    trees = {target: detached.make("tmpfs", [*beside, "mode=755"])}
    for names in hierarchies:
        place = f"{target}/{names.removeprefix('name=')}"
        trees[place] = detached.make("cgroup", [*options, *names.split(",")])
    return trees


def _link(hierarchies: list[str]) -> None:
    for path, target in LINKS.items():
        os.symlink(target, path)
    if os.path.exists(_MEMORY):
        os.symlink(_MEMORY, "/dev/core")
    for names in hierarchies:
        for name in names.split(",") if "," in names else ():
            os.symlink(names, f"/sys/fs/cgroup/{name}")


def _cover(path: str) -> None:
    """Hide a file or a directory, if there is one, behind one that is empty."""
    for place in _place(path):
        if stat.S_ISDIR(os.fstat(place).st_mode):
            detached.put(detached.make("tmpfs", ["ro"]), place)
        else:
            detached.put(detached.copy(_HERE, "/dev/null", attributes=()), place)


def _forbid_writing(path: str) -> None:
    for place in _place(path):
        detached.put(detached.copy(place, attributes=("ro",), whole=True), place)


def _place(path: str) -> Iterator[int]:
    with suppress(FileNotFoundError):
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield place
        finally:
            os.close(place)


def _in_child(work: Callable[[], None]) -> str:
    """Do something in a process of its own; return what went wrong, or nothing."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except Exception as error:  # noqa: BLE001 told to who waits
            os.write(writes, (str(error) or type(error).__name__).encode()[:_TOLD_SIZE_MAX])
        finally:
            os._exit(status)
    os.close(writes)
    with open(reads, "rb") as file:
        told = file.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return told or ("" if status == 0 else f"ended with {status}")
