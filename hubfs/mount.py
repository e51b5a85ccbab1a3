"""A hub mount from start to quit: names, flow and operations joined to the engine."""

import os
import time
from collections.abc import Callable

import trio

from hubfs.flow import Flow
from hubfs.namespace import Namespace, Settings
from hubfs.operations import HubOperations
from lib9.fuse.attach import Attached
from lib9.fuse.interface import MountOptions
from lib9.fuse.session import Served, serve

READERS_MAX = 4096  # reads that may wait at once, over all hubs of a mount
QUIT_SECONDS = 0.2  # for readers to be told of the end before the mount goes


def mount_options(service: str, *, allow_other: bool) -> MountOptions:
    """Return how a hub mount is mounted: nothing cached, waiting reads can be interrupted."""
    return MountOptions(
        fsname=service,
        subtype="hubfs",
        allow_other=allow_other,
        interruptible=True,
        max_tasks=READERS_MAX,
    )


async def serve_hubs(
    attached: Attached,
    options: MountOptions,
    settings: Settings,
    *,
    hubs_max: int,
    ready: Callable[[Served], None],
    stock: bool = False,
) -> None:
    """Serve one hub mount until it is unmounted, told to quit, or cancelled."""
    names = Namespace(os.getuid(), os.getgid(), time.time_ns(), settings, hubs_max)
    flow = Flow()
    quitting = trio.Event()
    operations = HubOperations(names, flow, options.fsname, quitting.set)
    async with trio.open_nursery() as nursery:

        async def quit_when_told() -> None:
            await quitting.wait()
            flow.end_all(names.hubs())
            await trio.sleep(QUIT_SECONDS)
            nursery.cancel_scope.cancel()

        nursery.start_soon(quit_when_told)
        await serve(operations, attached, options, ready=ready, stock=stock)
        nursery.cancel_scope.cancel()
