"""An address becomes a store: a path is an LMDB store, other forms have a word before their `!`."""

import importlib
import os
from typing import TYPE_CHECKING, Protocol, cast

from venti_store.errors import StoreError

if TYPE_CHECKING:
    from venti_store.interfaces import BlockStore
    from venti_store.score import Family


class Opener(Protocol):
    """Opens the store at an address; `family` None takes whatever hash it has."""

    async def __call__(self, address: str, family: "Family | None") -> "BlockStore": ...


async def _open_path(address: str, family: "Family | None") -> "BlockStore":
    from venti_store.stores.lmdb.store import LmdbStore

    return LmdbStore(address, family=family)


# the word before `!` → where its opener is; modules are imported when an address needs them
OPENERS: dict[str, str] = {
    "unix": "venti_store.stores.far:open_far",
    "tcp": "venti_store.stores.far:open_far",
    "noise": "venti_store.stores.far:open_far",
    "cached": "venti_store.combined:open_cached",
    "any": "venti_store.combined:open_any",
    "peers": "venti_store.combined:open_peers",
}


async def open_store(address: str, family: "Family | None" = None) -> "BlockStore":
    """Open the store at `address`; who opens it closes it with `aclose`.

    Raises StoreMissing, StoreError, HashMismatch if it is not of `family`, Unreachable.
    """
    word = address.partition("!")[0]
    if is_local(address):
        return await _open_path(address, family)
    if word not in OPENERS:
        raise StoreError(f"{address}: no such kind of store address: {word}")
    module, _, name = OPENERS[word].partition(":")
    opener = cast("Opener", getattr(importlib.import_module(module), name))
    return await opener(address, family)


def is_local(address: str) -> bool:
    """Tell whether `address` is the path of a store, which needs no event loop."""
    word, mark, _ = address.partition("!")
    return not mark or "/" in word


def default_path(data_home: str) -> str:
    """Return where the embedded store lies below `$XDG_DATA_HOME`."""
    return os.path.join(data_home, "venti")


def create_default(data_home: str) -> bool:
    """Make the embedded store if it is missing (blake3); tell whether it was."""
    from venti_store.score import BLAKE3
    from venti_store.stores.lmdb.environment import create

    path = default_path(data_home)
    if os.path.exists(os.path.join(path, "data.mdb")):
        return False
    create(path, BLAKE3)
    return True
