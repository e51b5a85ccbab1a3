"""How the other end of a dial string is reached: plainly, or as the holder of the key we expect."""

from __future__ import annotations

import trio

from lib9 import places, secure, streams
from lib9.errors import RemoteProtocolError
from lib9.keys import BadKey, channel_key
from lib9.noise import KeyPair
from lib9.streams import CannotDial, Connect, Dial
from venti_store import known


def connector(dial: Dial, service: str) -> Connect:
    """Return what connects to `service` at `dial`. For `noise!`, BadKey if it or we have no key."""
    if dial.network != "noise":

        async def plain() -> trio.abc.Stream:
            return await streams.dial(dial)

        return plain
    peer = known.peers().by_dial(str(dial))
    if peer is None:
        file = places.config_file("ndb")
        raise BadKey(f"{dial}: no record in {file} with dial={dial} and pubkey= says who that is")
    return secured(dial, known.identity().channel_keys(), channel_key(peer.public), service)


def secured(dial: Dial, ours: KeyPair, theirs: bytes, service: str) -> Connect:
    """Return what connects to `service` of the holder of the channel key `theirs`."""

    async def connect() -> trio.abc.Stream:
        transport = await streams.dial(dial)
        try:
            return await secure.connect(transport, ours, theirs, service)
        except (RemoteProtocolError, trio.BrokenResourceError, trio.TooSlowError) as error:
            why = str(error) or "no answer"
            raise CannotDial(f"{dial}: the handshake failed, has it another key? ({why})") from None

    return connect
