"""How a hub mount is mounted; known before anything heavy is imported."""

from lib9.fuse.options import MountOptions

READERS_MAX = 4096  # reads that may wait at once, over all hubs of a mount


def mount_options(service: str, *, allow_other: bool, far: bool = False) -> MountOptions:
    """Return the options: nothing is cached, and waiting reads can be interrupted."""
    return MountOptions(
        fsname=service,
        subtype="hubfs",
        allow_other=allow_other,
        interruptible=True,
        far=far,
        max_tasks=READERS_MAX,
    )
