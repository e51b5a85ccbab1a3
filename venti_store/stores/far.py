"""Stores at dial strings: what to do each time a connection to one is wanted."""

from __future__ import annotations

import trio

from lib9 import secure, streams
from lib9.errors import RemoteProtocolError
from lib9.keys import BadKey, channel_key
from lib9.noise import KeyPair
from lib9.streams import CannotDial, Dial
from venti_store import known
from venti_store.score import Family
from venti_store.stores.remote import Connect, RemoteStore

SERVICE = "venti"  # what is asked for on secure streams


async def open_far(address: str, family: Family | None) -> RemoteStore:
    """Open the store at `unix!PATH`, `tcp!HOST!PORT` or `noise!HOST!PORT`."""
    dial = streams.parse_dial(address)
    return await RemoteStore.open(str(dial), connector(dial), family)


def connector(dial: Dial) -> Connect:
    """Return what connects to `dial`. For `noise!`, raises BadKey if it or we have no key."""
    if dial.network != "noise":

        async def plain() -> trio.abc.Stream:
            return await streams.dial(dial)

        return plain
    peer = known.peers().by_dial(str(dial))
    if peer is None:
        raise BadKey(f"{dial}: no record with dial={dial} and pubkey= says who that is")
    return secured(dial, known.identity().channel_keys(), channel_key(peer.public))


def secured(dial: Dial, ours: KeyPair, theirs: bytes, service: str = SERVICE) -> Connect:
    """Return what connects to the holder of the channel key `theirs`."""

    async def connect() -> trio.abc.Stream:
        transport = await streams.dial(dial)
        try:
            return await secure.connect(transport, ours, theirs, service)
        except (RemoteProtocolError, trio.BrokenResourceError, trio.TooSlowError) as error:
            why = str(error) or "no answer"
            raise CannotDial(f"{dial}: the handshake failed, has it another key? ({why})") from None

    return connect
