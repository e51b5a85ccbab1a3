"""The OCI configuration of an environment: what its programs see, may do and may use. Pure.

Source: the OCI runtime specification 1.0.2, its parts "Configuration" and "Linux Container Configuration".
"""

from dataclasses import dataclass
from typing import Final

from spawngrid.environment import slots
from spawngrid.environment.interface import Limits, Network
from spawngrid.environment.seccomp import profile

ROOT: Final = "/mnt"  # where the root is while runc takes it over, in a mount namespace of its own
INIT: Final = (
    "/dev/init"  # process 1, from this machine; in a directory that is never the root's own
)
INIT_PROGRAM: Final = "catatonit"  # static, reaps, ends when it is told to
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OPEN_FILES_MAX: Final = 4096
IN_MEMORY_MAX: Final = 64 << 20  # bytes of /dev/shm, and of /run
CPU_PERIOD_US: Final = 100_000
_CAPABILITIES: Final = """
AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT
"""
CAPABILITIES: Final = tuple(f"CAP_{name}" for name in _CAPABILITIES.split())
_MASKED: Final = (
    "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats"
    " /proc/sched_debug /proc/scsi /sys/firmware /sys/fs/fuse /sys/kernel/debug"
)
_READ_ONLY: Final = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger /sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Bind:
    """A file of this machine that is seen inside. Never writable unless it is a hub."""

    source: str
    target: str
    writable: bool = False


def configuration(
    *,
    hostname: str,
    slot: int,
    cgroup: str,
    limits: Limits | None,
    network: Network,
    binds: list[Bind],
    swap_counted: bool,
) -> dict[str, object]:
    """Return the whole configuration, for `config.json`. `swap_counted`: swap can be limited."""
    ids = [{"containerID": 0, "hostID": slots.first_id(slot), "size": slots.IDS}]
    spaces = ["pid", "ipc", "uts", "mount", "user", "cgroup"]
    if network != "host":
        spaces.append("network")
    return {
        "ociVersion": "1.0.2",
        "process": process([INIT, "-P"]),
        "root": {"path": ROOT, "readonly": False},
        "hostname": hostname,
        "mounts": _mounts(network, limits) + [_bind(bind) for bind in binds],
        "linux": {
            "namespaces": [{"type": name} for name in spaces],
            "uidMappings": ids,
            "gidMappings": ids,
            "cgroupsPath": cgroup,
            "resources": _resources(limits, swap_counted=swap_counted),
            "seccomp": profile(),
            "maskedPaths": _MASKED.split(),
            "readonlyPaths": _READ_ONLY.split(),
        },
    }


def process(argv: list[str]) -> dict[str, object]:
    """Return how a process is started: without privileges, and with none to gain."""
    capabilities = list(CAPABILITIES)
    return {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": argv,
        "env": [f"PATH={PATH}", "HOME=/root", "TERM=xterm", "LANG=C.UTF-8"],
        "cwd": "/",
        "capabilities": dict.fromkeys(
            ("bounding", "effective", "permitted", "inheritable"), capabilities
        ),
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": OPEN_FILES_MAX, "soft": OPEN_FILES_MAX}],
        "noNewPrivileges": True,
    }


def _mount(target: str, kind: str, *options: str) -> dict[str, object]:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _mounts(network: Network, limits: Limits | None) -> list[dict[str, object]]:
    plain = ("nosuid", "nodev")
    most = IN_MEMORY_MAX if limits is None else min(IN_MEMORY_MAX, limits.memory_bytes // 4)
    size = f"size={most}"  # both full leave half of the memory: a command can still be run
    if network == "host":  # a sysfs of its own comes with a network of its own only
        system = _mount("/sys", "none", "rbind", "rro", "noexec", *plain)
        system["source"] = "/sys"
    else:
        system = _mount("/sys", "sysfs", "ro", "noexec", *plain)
    return [
        _mount("/proc", "proc", "noexec", *plain),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=256k", "nr_inodes=256"),
        _mount(
            "/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"
        ),
        _mount("/dev/shm", "tmpfs", "noexec", "mode=1777", size, "nr_inodes=16k", *plain),
        _mount("/dev/mqueue", "mqueue", "noexec", *plain),
        system,
        _mount("/sys/fs/cgroup", "cgroup", "ro", "noexec", "relatime", *plain),
        _mount("/run", "tmpfs", "mode=755", size, "nr_inodes=16k", *plain),
        _mount("/srv", "tmpfs", "mode=755", "size=4m", "nr_inodes=1k", *plain),
    ]


def _bind(bind: Bind) -> dict[str, object]:
    options = ["bind", "nosuid", "nodev"] + (["rw"] if bind.writable else ["ro"])
    return {"destination": bind.target, "type": "none", "source": bind.source, "options": options}


def _resources(limits: Limits | None, *, swap_counted: bool) -> dict[str, object]:
    """Return what is limited; devices are denied in any case, but for those that runc itself makes."""
    resources: dict[str, object] = {"devices": [{"allow": False, "access": "rwm"}]}
    if limits is None:
        return resources
    memory = {"limit": limits.memory_bytes}
    if swap_counted:
        memory["swap"] = limits.memory_bytes
    resources["memory"] = memory
    resources["cpu"] = {
        "quota": max(1000, int(limits.cpus * CPU_PERIOD_US)),
        "period": CPU_PERIOD_US,
    }
    resources["pids"] = {"limit": limits.pids}
    return resources
