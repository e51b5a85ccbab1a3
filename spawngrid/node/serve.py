"""A node at work: everything that one process serves behind the node's one listener."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Final

import trio

from hubfs.options import mount_options
from lib9 import keys, streams
from lib9.errors import RemoteProtocolError, SpawngridError
from lib9.fuse import mounts
from lib9.fuse.attach import attach
from lib9.keys import Identity
from spawngrid import files
from spawngrid.attach import wire as attach_wire
from spawngrid.attach.admitted import Admitted
from spawngrid.attach.service import AttachService
from spawngrid.environment.interface import Environments
from spawngrid.messages import Frames
from spawngrid.node.gridsvc import GridHubs, visitor
from spawngrid.node.listener import Guest, Listener, Service
from spawngrid.node.requests import RequestService
from spawngrid.request import wire
from spawngrid.request.queue import Queue
from spawngrid.settings.allowance import TURN_SECONDS
from spawngrid.settings.audit import STRANGERS, Audit, Refusals
from spawngrid.settings.config import NodeConfig
from spawngrid.settings.users import RIGHT_GRID, Users
from venti_store import known
from venti_store.doors import RIGHT, RIGHT_READ
from venti_store.names.gate import NameGate
from venti_store.open import open_store
from venti_store.server import Server

log = logging.getLogger("grid")

ENROL_SECONDS_MAX: Final = 10.0
MOUNT_SECONDS: Final = 0.5  # between looks at the mount of the hubs elsewhere
MOUNT_SECONDS_MAX: Final = 30.0
QUIT_SECONDS: Final = 0.2

OPEN_FILES_MAX: Final = 16 << 10  # connections, the streams of sessions, hubs


async def serve_node(
    config: NodeConfig, environments: Environments | None, ready: Callable[[], None]
) -> None:
    """Serve until cancelled; CannotListen, BadKey, or what opening the store raises."""
    allow_open_files(OPEN_FILES_MAX)
    identity = keys.load(config.key_file)
    audit = Audit(config.place("log", "audit"))
    services: dict[str, Service] = {}
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        if config.is_storage:
            await _storage(config, identity, audit, services, stack, nursery)
        else:
            nursery.start_soon(keep_hubs_mounted, config)
        admitted = None
        if config.is_cpu and environments is not None:
            admitted = Admitted(config.place("admitted"))
            attach_service = AttachService(environments, admitted, audit=audit)
            nursery.start_soon(attach_service.run)
            _offer_attach(attach_service, services)
        listener = Listener(identity, services, known.KnownPeers(config.peers_file), admitted)
        nursery.start_soon(listener.keep_house)
        listeners = await streams.listen(config.listen)
        nursery.start_soon(partial(trio.serve_listeners, listener, listeners))
        ready()
        await trio.sleep_forever()


def allow_open_files(count: int) -> None:
    """Let this process open so many files, as far as the machine allows; most begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _storage(
    config: NodeConfig,
    identity: Identity,
    audit: Audit,
    services: dict[str, Service],
    stack: AsyncExitStack,
    nursery: trio.Nursery,
) -> None:
    store = await open_store(config.store)
    stack.push_async_callback(store.aclose)
    server = Server(store, admit_name=NameGate(store))
    users = Users(config.peers_file, config.place("tokens"))
    hubs = GridHubs(lambda: None)
    files.clean(config.place("requests", "queued"))
    refusals = Refusals(audit)
    nursery.start_soon(_tell_refusals, refusals)
    requests = RequestService(Queue(config.place("requests")), hubs, audit, refusals)
    nursery.start_soon(requests.run)
    nursery.start_soon(hubs.service.keep_house)
    mounted = trio.Event()
    nursery.start_soon(_serve_hubs, config, hubs, mounted.set)
    await mounted.wait()
    for peer in users.peers():
        if RIGHT_GRID in peer.rights:
            requests.follow(peer.name)

    async def venti(stream: trio.abc.Stream, guest: Guest, place: str) -> None:
        assert guest.peer is not None
        read_only = RIGHT not in guest.peer.rights
        await server.converse(stream, read_only=read_only, who=f"{place} {guest.name}")

    async def hub(stream: trio.abc.Stream, guest: Guest, place: str) -> None:
        assert guest.peer is not None
        found = visitor(guest.peer)
        assert found is not None
        if RIGHT_GRID in guest.peer.rights:
            requests.follow(guest.name)
        await hubs.service.converse(stream, found, place)

    async def request(stream: trio.abc.Stream, guest: Guest, _place: str) -> None:
        assert guest.peer is not None
        await requests.converse(stream, guest.peer)

    async def enrol(stream: trio.abc.Stream, guest: Guest, place: str) -> None:
        await _enrol(config, identity, users, audit, refusals, stream, guest, place)

    services["venti"] = Service(_has(RIGHT, RIGHT_READ), venti)
    services["hub"] = Service(lambda g: g.peer is not None and visitor(g.peer) is not None, hub)
    services[wire.SERVICE] = Service(_has(RIGHT_GRID), request)
    services[wire.ENROL_SERVICE] = Service(lambda _: True, enrol, strangers=True)


def _offer_attach(attach_service: AttachService, services: dict[str, Service]) -> None:
    async def serve(stream: trio.abc.Stream, guest: Guest, _place: str) -> None:
        await attach_service.converse(stream, guest.key)

    # which environment is said, and checked, in the first message
    for name in (attach_wire.SERVICE, attach_wire.CONSOLE_SERVICE):
        services[name] = Service(lambda _: True, serve)


def _has(*rights: str) -> Callable[[Guest], bool]:
    return lambda guest: guest.peer is not None and bool(guest.peer.rights & set(rights))


async def _serve_hubs(config: NodeConfig, hubs: GridHubs, ready: Callable[[], None]) -> None:
    options = mount_options("gridsvc", allow_other=False)
    point = _mount_point(config)
    attached = attach(point, options)
    try:
        await hubs.serve(attached, options, ready)
    finally:
        hubs.flow.end_all(hubs.names.hubs())


def _mount_point(config: NodeConfig) -> bytes:
    """Return where the hubs are mounted: a directory, without the dead mount of who was killed."""
    point = os.fsencode(config.gridsvc)
    with suppress(FileExistsError):  # a dead mount looks like no directory
        os.makedirs(point, mode=0o700, exist_ok=True)
    mounts.clean_dead(point)
    return point


async def _tell_refusals(refusals: Refusals) -> None:
    try:
        while True:
            await trio.sleep(TURN_SECONDS)
            refusals.turn()
    finally:
        refusals.turn()


async def _enrol(
    config: NodeConfig,
    identity: Identity,
    users: Users,
    audit: Audit,
    refusals: Refusals,
    stream: trio.abc.Stream,
    guest: Guest,
    place: str,
) -> None:
    """Make who has a token known, and tell them who we are."""
    frames = Frames(wire.TABLE)
    reply: wire.Message
    with trio.move_on_after(ENROL_SECONDS_MAX):
        asked: list[wire.Message] = []
        while not asked:
            data = await stream.receive_some()
            if not data:
                return
            frames.feed(bytes(data))
            asked = list(frames.received())
        enrol = asked[0]
        if not isinstance(enrol, wire.Enrol) or enrol.version != wire.VERSION:
            raise RemoteProtocolError("no Enrol")
        try:
            peer = users.enrol(enrol.token, enrol.public, guest.key, enrol.dial, int(time.time()))
            reply = wire.Enrolled(peer.name, (our_record(config, identity),))
            audit(peer.name, f"enrolled from {place}")
        except SpawngridError as error:
            refusals(STRANGERS, f"not enrolled from {place}: {error}")
            reply = wire.Failed(int(error.exit_code), str(error)[:500])
        await stream.send_all(wire.TABLE.framed(reply))
    await stream.aclose()


def our_record(config: NodeConfig, identity: Identity) -> str:
    """Return the record by which others know this node."""
    key = keys.format_key(identity.public)
    return f"sys={config.name} dial={config.dial} pubkey={key} service=grid"


async def keep_hubs_mounted(config: NodeConfig) -> None:
    """Have the storage node's hubs mounted here, again whenever they went away; until cancelled."""
    point = _mount_point(config)
    peer = None
    try:
        while True:
            mount = mounts.fuse_mount_at(point)
            if mount is None or mounts.is_dead(mount):
                peer = known.peers(config.peers_file).by_name(config.storage)
                if peer is None or not peer.dials:
                    log.warning("%s: no record with dial= says where it is", config.storage)
                else:
                    command = ["hubfs", "-r", peer.dials[0], os.fsdecode(point)]
                    with trio.move_on_after(MOUNT_SECONDS_MAX):
                        await trio.run_process(
                            command, check=False, stdin=subprocess.DEVNULL, capture_stderr=True
                        )
            await trio.sleep(MOUNT_SECONDS)
    finally:
        mounts.unmount(point, lazy=True)
