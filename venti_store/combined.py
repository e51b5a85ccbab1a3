"""Addresses of stores that are made of others.

`cached!ADDRESS` is the store at ADDRESS behind this node's cache, `cached!SIZE!ADDRESS` says how
large that may become; `any!ADDRESS,ADDRESS…` are replicas, the best first; `peers!ADDRESS` is a store
and the nodes of the ndb file, which are asked for what it lacks.
"""

from __future__ import annotations

import contextlib
import re
from functools import partial
from typing import Final

from lib9 import places
from lib9.errors import SpawngridError
from lib9.sizes import parse_size
from venti_store import known
from venti_store.errors import StoreError, Unreachable
from venti_store.interfaces import BlockStore
from venti_store.open import open_store
from venti_store.score import Family
from venti_store.stores.backed import BackedStore
from venti_store.stores.lmdb.cache import open_cache
from venti_store.stores.replicas import ReplicaStore
from venti_store.stores.tiered import TieredStore

CACHE_BYTES: Final = 1 << 30
_SIZED: Final = re.compile(r"(\d[^!]*)!(.+)")


async def open_cached(address: str, family: Family | None) -> TieredStore:
    """Open `cached!ADDRESS` or `cached!SIZE!ADDRESS`, with the cache in $XDG_CACHE_HOME/venti."""
    _, _, rest = address.partition("!")
    sized = _SIZED.fullmatch(rest)
    cap_bytes = parse_size(sized[1]) if sized else CACHE_BYTES
    far = await open_store(sized[2] if sized else rest, family)
    return await tiered(far, places.cache_file("venti"), cap_bytes)


async def tiered(far: BlockStore, path: str, cap_bytes: int) -> TieredStore:
    """Put the cache at `path` before `far`; closes `far` if that fails."""
    try:
        return TieredStore(open_cache(path, cap_bytes), far)
    except BaseException:
        await far.aclose()
        raise


async def open_peers(address: str, family: Family | None) -> BackedStore:
    """Open `peers!ADDRESS`; the nodes of the ndb file with `dial=` are connected when needed."""
    here = await open_store(address.partition("!")[2], family)
    try:
        dials = [peer.dials[0] for peer in known.peers() if peer.dials and not peer.user]
    except BaseException:
        await here.aclose()
        raise
    return BackedStore(here, [partial(open_store, dial, here.family) for dial in dials])


async def open_any(address: str, family: Family | None) -> ReplicaStore:
    """Open `any!ADDRESS,ADDRESS…`: those that answer now, one at least."""
    stores: list[BlockStore] = []
    failure: SpawngridError = StoreError(f"{address}: no address")
    for each in filter(None, address.partition("!")[2].split(",")):
        try:
            stores.append(await open_store(each, stores[0].family if stores else family))
        except Unreachable as error:
            failure = error
        except BaseException:
            for store in stores:
                with contextlib.suppress(SpawngridError):
                    await store.aclose()
            raise
    if not stores:
        raise failure
    return ReplicaStore(stores)
