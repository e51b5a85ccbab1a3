"""Which store a command means: `-s ADDRESS`, else `$venti`, else the embedded store."""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from lib9.cli import Parser
from lib9.places import data_directory
from venti_store.errors import StoreError
from venti_store.open import create_default, default_path, is_local, open_store

if TYPE_CHECKING:
    from venti_store.interfaces import BlockStore
    from venti_store.score import Family
    from venti_store.stores.lmdb.store import LmdbStore

T = TypeVar("T")


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """Add `-s ADDRESS` to a command that needs a store."""
    parser.add_argument(
        "-s",
        "--store",
        metavar="ADDRESS",
        help="the store: a path, unix!PATH, tcp!HOST!PORT or noise!HOST!PORT "
        "(default: $venti, else the embedded store, $XDG_DATA_HOME/venti)",
    )


def store_address(args: argparse.Namespace, *, create: bool = False) -> str:
    """Return the address of the store that the command line means.

    With `create` (for commands that write) a missing embedded store is made, with a word on stderr.
    """
    named = args.store or os.environ.get("venti")  # noqa: SIM112  the name Plan 9 gave it
    if named:
        return str(named)
    home = data_directory(os.environ)
    if create and create_default(home):
        sys.stderr.write(f"made the store {default_path(home)}\n")
    return default_path(home)


def local_store(args: argparse.Namespace) -> "LmdbStore":
    """Open a store that must be a path: what is done to it cannot be done from afar."""
    from venti_store.stores.lmdb.store import LmdbStore

    return LmdbStore(path_of(store_address(args)))


def path_of(address: str) -> str:
    """Return the path that `address` must be; StoreError for a store far away."""
    if not is_local(address):
        raise StoreError(f"{address}: this needs the path of a store, on the machine that has it")
    return address


def with_store(
    address: str,
    function: "Callable[[BlockStore], Awaitable[T]]",
    family: "Family | None" = None,
) -> T:
    """Return `await function(store)`; the store is closed after. Brings an event loop if needed."""

    async def run() -> T:
        store = await open_store(address, family)
        try:
            return await function(store)
        finally:
            await store.aclose()

    if is_local(address):
        from lib9.waiting import run_now

        return run_now(run())
    import trio

    return trio.run(run)


class Subcommands(Protocol):
    """What `add` of a subcommand's module is given."""

    def add_parser(self, name: str, *, help: str, description: str) -> Parser: ...  # noqa: A002
