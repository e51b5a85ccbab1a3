"""The one listener of a node: who comes in, by key, and for which service.

venti     nodes and operators: right `venti` or `venti-read`; never users of the grid
hub       users, cpu nodes, operators: each the hubs that are theirs
request   users of the grid
enrol     whoever holds a token
attach    who may enter an environment of this node; console: its own shell
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from lib9 import secure
from lib9.errors import Refused, RemoteProtocolError
from lib9.keys import BadKey, Identity, Peer, Peers
from spawngrid.attach.admitted import Admitted

log = logging.getLogger("grid")

HANDSHAKES_MAX: Final = 64  # at a time: strangers may fill no more
CONNECTIONS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who was let in: a peer that is known, or the name of who may enter an environment."""

    name: str
    peer: Peer | None
    key: bytes  # X25519


@dataclass(frozen=True, slots=True)
class Service:
    """What is served under a name. `admits` says whether a guest may have it."""

    admits: Callable[[Guest], bool]
    serve: Callable[[trio.abc.Stream, Guest, str], Awaitable[None]]
    strangers: bool = False  # also to those who are not known


class Listener:
    """Lets in whose key may have the service that it asks for. Changes of the files count at once."""

    def __init__(
        self,
        identity: Identity,
        services: dict[str, Service],
        peers: Callable[[], Peers],
        admitted: Admitted | None,
    ) -> None:
        self._keys = identity.channel_keys()
        self._services = services
        self._peers = peers
        self._admitted = admitted
        self._handshakes = 0
        self._connections = 0

    async def __call__(self, stream: trio.SocketStream) -> None:
        """Serve one connection; raises nothing but Cancelled."""
        place = "noise"
        if self._handshakes >= HANDSHAKES_MAX or self._connections >= CONNECTIONS_MAX:
            await trio.aclose_forcefully(stream)
            return
        self._handshakes += 1
        self._connections += 1
        try:
            place = f"noise!{stream.socket.getpeername()[0]}"
            try:
                accepted = await secure.accept(stream, self._keys, self._admit)
            finally:
                self._handshakes -= 1
            service = self._services[accepted.service]
            await service.serve(accepted.stream, accepted.peer, place)
        except (Refused, RemoteProtocolError, BadKey) as error:
            log.warning("%s: turned away: %s", place, error)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError):
            log.info("%s: went away", place)
        except Exception:
            log.exception("%s: unexpected error", place)
        finally:
            self._connections -= 1

    def _admit(self, channel_key: bytes, name: str) -> Guest:
        service = self._services.get(name)
        guest = self._guest(channel_key)
        if guest is None:
            if service is None or not service.strangers:
                raise Refused("this key is not known here")
            guest = Guest("", None, channel_key)
        if service is None:
            raise Refused(f"no service {name} here")
        if not service.admits(guest):
            raise Refused(f"{guest.name or 'this key'} has no right to {name} here")
        return guest

    def _guest(self, channel_key: bytes) -> Guest | None:
        peer = self._peers().by_channel_key(channel_key)
        if peer is not None:
            return Guest(peer.name, peer, channel_key)
        user = self._admitted.user(channel_key) if self._admitted is not None else None
        return Guest(user, None, channel_key) if user is not None else None
