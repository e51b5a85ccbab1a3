"""How a file system wants to be mounted, and by which engine. Imports little: a mount is there first."""

from dataclasses import dataclass, field

ENGINE_VARIABLE = "SPAWNGRID_ENGINE"  # `stock`: without the shim, as where it could not be built
STOCK = "stock"


@dataclass(slots=True)
class MountOptions:
    """How a file system wants to be mounted. `max_tasks` must exceed the readers that may wait."""

    fsname: str
    subtype: str
    read_only: bool = False
    allow_other: bool = False
    default_permissions: bool = True
    writeback_cache: bool = False
    posix_acl: bool = False
    no_open: bool = False  # the kernel keeps no open files here: no OPEN, RELEASE, FLUSH requests
    idmapped: bool = False  # idmapped mounts are possible (shim, default_permissions); see Caller
    interruptible: bool = False  # a signal to the caller cancels its waiting handler: EINTR
    far: bool = False  # changes wait for others too: with `interruptible`, they can be interrupted
    eager: bool = False  # look longer for the next request; see lib9.fuse.looking
    suid: bool = False
    dev: bool = False
    own_inodes: int = 1 << 64  # from here on: writes are commands, interruptible, held by no gate
    missing_keep_seconds: float = 0.0  # how long the kernel may know that a name is not there
    max_tasks: int = 1024
    read_ahead_kib: int = 2048
    extra: frozenset[str] = field(default_factory=frozenset)
