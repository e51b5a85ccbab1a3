"""Where environments are: asked of the storage node once, then known until it proves wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from lib9 import keys
from lib9.errors import Exit, Refused
from lib9.keys import Identity
from lib9.places import cache_file
from ndbdb.parser import parse
from ndbdb.record import Record
from spawngrid import files
from spawngrid.client.asking import ask
from spawngrid.client.entering import Place
from spawngrid.client.grids import Storage
from spawngrid.errors import NotAnswering, RequestFailed


def at_place(
    storage: Storage, identity: Identity, alias: str, begin: Callable[[Place], int]
) -> int:
    """Return `begin(place)` with the place of an environment.

    A place that was remembered and turns out to be no longer so is asked for again.
    """
    known = _remembered(storage, identity, alias)
    if known is not None:
        try:
            return begin(known)
        except (NotAnswering, Refused):
            _forget(storage, identity, alias)
        except RequestFailed as failed:
            if failed.exit_code is not Exit.NOT_FOUND:
                raise
            _forget(storage, identity, alias)
    return begin(_ask(storage, identity, alias))


def _ask(storage: Storage, identity: Identity, alias: str) -> Place:
    """Return where an environment is; RequestFailed if it is nowhere or not ours."""
    for line in ask(storage, identity, ("where", alias)):
        record = next(parse(f"{line}\n"), None)
        place = _place(record) if record is not None else None
        if record is not None and place is not None:
            with suppress(OSError):  # a cache
                file = _file(storage, identity, alias)
                os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
                files.replace(file, f"{line}\n".encode())
            return place
    raise NotAnswering(f"{storage.name}: said nothing of {alias}")


def _place(record: Record) -> Place | None:
    values = [record.get(attr) for attr in ("environment", "node", "dial", "key")]
    environment, node, dial, key = values
    if environment is None or node is None or dial is None or key is None:
        return None
    return Place(environment, node, dial, keys.parse_key(key))


def _remembered(storage: Storage, identity: Identity, alias: str) -> Place | None:
    with suppress(OSError):
        record = files.read_record(_file(storage, identity, alias))
        return _place(record) if record is not None else None
    return None


def _forget(storage: Storage, identity: Identity, alias: str) -> None:
    with suppress(OSError):
        os.unlink(_file(storage, identity, alias))


def _file(storage: Storage, identity: Identity, alias: str) -> str:
    safe = alias.replace("/", ":")[:128]
    return cache_file(os.path.join("spawngrid", identity.public.hex()[:16], storage.name, safe))
