"""What this machine lacks for environments: facts with remedies. Nothing is tried that leaves a trace."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from spawngrid.environment.cgroups.group import read_layout
from spawngrid.environment.interface import CannotIsolate, Finding, Level, Spec
from spawngrid.environment.oci import INIT_PROGRAM
from spawngrid.environment.runtimes.choosing import ALL, choose

IDMAP_KERNEL: Final = (6, 12)  # the first whose FUSE mounts can have their ids mapped
_FOR_NETWORK: Final = ("ip", "nft", "nsenter")
_FOR_LIMITS: Final = "cgroups"
_SHIM: Final = "lib9.fuse._shim"


def findings() -> list[Finding]:
    """Return all facts; none takes longer than reading a few files."""
    return [*_rights(), *_programs(), *_isolation(), *_groups()]


def require(spec: Spec) -> None:
    """Make sure that this machine can hold an environment in the way asked for; CannotIsolate."""
    choose(spec.limits)
    for finding in findings():
        if finding.level == "lacks" and _is_needed(finding, spec):
            raise CannotIsolate(f"{finding.name}: {finding.fact}")


def _is_needed(finding: Finding, spec: Spec) -> bool:
    if finding.name in _FOR_NETWORK:
        return spec.network == "nat"
    if finding.name in ALL:
        return False  # one that is not there is not chosen
    return finding.name != _FOR_LIMITS or spec.limits is not None or read_layout().kind == "none"


def _fact(name: str, good: bool, yes: str, no: str, remedy: str = "") -> Finding:
    level: Level = "ok" if good else "lacks"
    return Finding(name, level, yes if good else no, "" if good else remedy)


def _rights() -> Iterator[Finding]:
    yield _fact(
        "root", os.geteuid() == 0, "runs as root", "not root: environments need it", "run as root"
    )
    usable = os.access("/dev/fuse", os.R_OK | os.W_OK)
    yield _fact("fuse", usable, "/dev/fuse", "/dev/fuse cannot be used", "modprobe fuse")


def _programs() -> Iterator[Finding]:
    packages = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"}
    yield from _runtimes()
    for name in (INIT_PROGRAM, *_FOR_NETWORK):
        path = shutil.which(name)
        install = f"apt install {packages.get(name, name)}"
        yield _fact(name, path is not None, path or "", "not installed", install)


def _runtimes() -> Iterator[Finding]:
    """Give what makes environments. They isolate alike: without bubblewrap, runc does for it."""
    limits, none = (ALL[name].lacks() for name in ("runc", "bubblewrap"))
    without = (
        f"{limits}: {'no environment can be made' if none else 'only --limits none can be had'}"
    )
    yield _fact("runc", not limits, "makes environments with limits", without, "apt install runc")
    level: Level = "ok" if not none else "lacks" if limits else "note"
    fact = f"{none}: {'no environment can be made' if limits else 'runc makes those too'}"
    yield Finding(
        "bubblewrap",
        level,
        fact if none else "makes environments without limits",
        "apt install bubblewrap libseccomp2" if level == "lacks" else "",
    )


def _isolation() -> Iterator[Finding]:
    spaces = [
        name for name in ("mnt", "pid", "user", "uts", "ipc", "net", "cgroup") if not _has(name)
    ]
    most = _read("/proc/sys/user/max_user_namespaces").strip()
    yield _fact(
        "namespaces",
        not spaces and most != "0",
        "all kinds",
        f"the kernel has no {', '.join(spaces)} namespaces"
        if spaces
        else "user namespaces are off",
        "sysctl user.max_user_namespaces=10000",
    )
    yield _fact(
        "seccomp",
        os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
        "system calls are filtered",
        "the kernel filters no system calls",
    )
    maps, why = maps_ids()
    yield Finding("ids", "ok" if maps else "note", why)


def maps_ids() -> tuple[bool, str]:
    """Tell whether the kernel can map ids on our mounts, and say so in words."""
    if find_spec(_SHIM) is None:
        return False, f"shifted by the file system: the extension module {_SHIM} is not built"
    release = os.uname().release
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < IDMAP_KERNEL:
        return False, f"shifted by the file system: kernel {release} maps none on FUSE"
    return True, "mapped by the kernel"


def _groups() -> Iterator[Finding]:
    layout = read_layout()
    missing = layout.missing()
    if layout.kind == "none":
        fact = (
            "none are mounted: what belongs to an environment could not be told, stopped or ended"
        )
        yield Finding(_FOR_LIMITS, "lacks", fact, "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        return
    yield _fact(
        _FOR_LIMITS,
        not missing,
        f"{layout.kind}: memory, processors and processes can be limited",
        f"{layout.kind}: no controller for {', '.join(missing)}",
        "mount the cgroup hierarchies, or spawn with --limits none",
    )
    if layout.can_freeze():
        yield Finding("freezer", "ok", "programs stand still while a save takes their state")
    else:
        yield Finding("freezer", "note", "a save cannot stop programs: not one moment of all files")


def _has(namespace: str) -> bool:
    return os.path.exists(f"/proc/self/ns/{namespace}")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
