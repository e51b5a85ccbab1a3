"""Who comes in through which address: plain sockets as they are, secure ones by key and right."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from lib9 import secure
from lib9.errors import Refused, RemoteProtocolError
from lib9.keys import BadKey, Identity, Peer, Peers
from venti_store.server import Server

SERVICE: Final = "venti"
RIGHT: Final = "venti"
RIGHT_READ: Final = "venti-read"
HANDSHAKES_MAX: Final = 64  # at a time: strangers may fill no more
log = logging.getLogger("venti")


class PlainDoor:
    """Lets in whoever can reach the socket: file modes, loopback and tunnels are what guards it."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._name = name

    async def __call__(self, stream: trio.SocketStream) -> None:
        await self._server.converse(stream, who=self._name)


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who was let in."""

    peer: Peer
    read_only: bool


class SecureDoor:
    """Lets in whose key has a right to venti. `peers` is asked each time, so changes count at once."""

    def __init__(
        self, server: Server, identity: Identity, peers: Callable[[], Peers], name: str
    ) -> None:
        self._server = server
        self._keys = identity.channel_keys()
        self._peers = peers
        self._name = name
        self._handshakes = 0

    async def __call__(self, stream: trio.SocketStream) -> None:
        if self._handshakes >= HANDSHAKES_MAX:
            await trio.aclose_forcefully(stream)
            return
        self._handshakes += 1
        try:
            accepted = await secure.accept(stream, self._keys, self._admit)
        except (Refused, RemoteProtocolError, BadKey) as error:
            log.warning("%s: %s", self._name, error)
            return
        except (trio.BrokenResourceError, trio.TooSlowError):
            return
        finally:
            self._handshakes -= 1
        guest = accepted.peer
        who = f"{self._name} {guest.peer.name}"
        await self._server.converse(accepted.stream, read_only=guest.read_only, who=who)

    def _admit(self, channel_key: bytes, service: str) -> Guest:
        peer = self._peers().by_channel_key(channel_key)
        if peer is None:
            raise Refused("this key is not known here")
        if service != SERVICE:
            raise Refused(f"no service {service} here")
        if not peer.rights & {RIGHT, RIGHT_READ}:
            raise Refused(f"{peer.name} has no right to {SERVICE} here")
        return Guest(peer, RIGHT not in peer.rights)
