"""A hub mount from start to quit: names, flow, operations and network joined to the engine."""

import os
import time
from collections.abc import Callable, Sequence

import trio

from hubfs.flow import Flow
from hubfs.namespace import Namespace, Settings
from hubfs.net.dialing import Door
from hubfs.net.link import Link
from hubfs.net.remote import RemoteOperations
from hubfs.net.service import HubService
from hubfs.net.visitors import SERVICE
from hubfs.operations import HubOperations
from lib9 import streams
from lib9.fuse.attach import Attached
from lib9.fuse.options import MountOptions
from lib9.fuse.session import serve
from lib9.streams import Dial
from venti_store import known
from venti_store.reach import connector

QUIT_SECONDS = 0.2  # for readers to be told of the end before the mount goes

Ready = Callable[[], None]


async def serve_hubs(
    attached: Attached,
    options: MountOptions,
    *,
    settings: Settings,
    hubs_max: int,
    listen: Sequence[Dial] = (),
    ready: Ready = lambda: None,
    stock: bool = False,
) -> None:
    """Serve one hub mount, and those who dial `listen`, until unmounted, quit, or cancelled."""
    names = Namespace(os.getuid(), os.getgid(), time.time_ns(), settings, hubs_max)
    flow = Flow()
    quitting = trio.Event()
    service = HubService(names, flow, options.fsname, quitting.set)
    operations = HubOperations(names, flow, service.status, quitting.set)
    identity = known.identity() if any(d.network == "noise" for d in listen) else None
    listeners = [(dial, found) for dial in listen for found in await streams.listen(dial)]
    async with trio.open_nursery() as nursery:

        async def quit_when_told() -> None:
            await quitting.wait()
            flow.end_all(names.hubs())
            await trio.sleep(QUIT_SECONDS)
            await service.say_bye()
            nursery.cancel_scope.cancel()

        nursery.start_soon(quit_when_told)
        nursery.start_soon(service.keep_house)
        door = Door(service, identity)
        for dial, listener in listeners:
            nursery.start_soon(door.serve, dial, listener)
        await serve(operations, attached, options, ready=lambda _: ready(), stock=stock)
        nursery.cancel_scope.cancel()
    for dial in listen:
        if dial.network == "unix":
            os.unlink(dial.path)


async def serve_remote(
    attached: Attached,
    options: MountOptions,
    *,
    dial: Dial,
    ready: Ready = lambda: None,
    stock: bool = False,
) -> None:
    """Serve a mount of the hubs at `dial` until it is unmounted, they are gone, or cancelled.

    CannotDial, Refused, RemoteProtocolError or BadKey if there is no connection to begin with.
    """
    link = Link(connector(dial, SERVICE), str(dial))
    failure: list[Exception] = []
    async with trio.open_nursery() as nursery:

        async def keep_linked() -> None:
            try:
                await link.run()
            except Exception as error:  # noqa: BLE001 raised below, without a group around it
                failure.append(error)
            await trio.sleep(QUIT_SECONDS)
            nursery.cancel_scope.cancel()

        nursery.start_soon(keep_linked)
        await link.up.wait()
        operations = RemoteOperations(link)
        await serve(operations, attached, options, ready=lambda _: ready(), stock=stock)
        nursery.cancel_scope.cancel()
    if failure:
        raise failure[0]
