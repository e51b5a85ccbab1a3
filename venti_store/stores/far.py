"""Stores at dial strings."""

from __future__ import annotations

from lib9 import streams
from venti_store.reach import connector
from venti_store.score import Family
from venti_store.stores.remote import RemoteStore

SERVICE = "venti"  # what is asked for on secure streams


async def open_far(address: str, family: Family | None) -> RemoteStore:
    """Open the store at `unix!PATH`, `tcp!HOST!PORT` or `noise!HOST!PORT`."""
    dial = streams.parse_dial(address)
    return await RemoteStore.open(str(dial), connector(dial, SERVICE), family)
