"""What the commands on trees share: which store, which tree and path, and how names are printed."""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lib9.errors import Exit
from lib9.places import cache_directory
from lib9.telling import printable
from venti_store.cli.address import add_store_option, store_address, with_store
from venti_store.errors import BadScore, BadTree, HashMismatch

if TYPE_CHECKING:
    from fossil_fs.snapshot import Snapshot
    from venti_store.interfaces import BlockStore
    from venti_store.names.here import NamesHere
    from venti_store.score import Family, Score

__all__ = ["add_store_option", "store_address", "with_store"]

T = TypeVar("T")
TREE_HELP = "a tree: a score, or a name of one (NAME~1: what it was before), and a path in it"


@dataclass(frozen=True, slots=True)
class Place:
    """A tree and a path in it, as the command line says it."""

    text: str
    score: "Score"
    path: bytes


def resolve(text: str, address: str) -> "Score":
    """Return the score that `text` means: hex digits, `vac:` in front or not, or a name.

    Names are those of this user and those that the store at `address` has.
    """
    from venti_store.score import parse_score

    try:
        return parse_score(text)  # which needs no names
    except BadScore:
        return names_here(address).resolve(text)


def names_here(address: str) -> "NamesHere":
    """Return the names that count with the store at `address`."""
    from venti_store.names.here import NamesHere

    return NamesHere(os.environ, address)


def memory_folder() -> str:
    """Return where `vac -a` keeps what it saw of the host."""
    return os.path.join(cache_directory(os.environ), "vac")


def parse_place(text: str, address: str) -> Place:
    """Return what SCORE or NAME, and perhaps `:PATH` after it, means. Raises as `resolve`."""
    label = "vac:" if text.startswith("vac:") else ""
    tree, _, path = text.removeprefix(label).partition(":")
    return Place(text, resolve(label + tree, address), os.fsencode(path))


def family_of(scores: "Sequence[Score]") -> "Family":
    """Return the hash family of all `scores`; HashMismatch if they are of two."""
    from venti_store.score import FAMILY_OF_SIZE

    sizes = {len(score) for score in scores}
    if len(sizes) != 1:
        raise HashMismatch("the scores are of different hash families, which no store mixes")
    return FAMILY_OF_SIZE[sizes.pop()]


def with_trees(
    args: argparse.Namespace,
    places: Sequence[Place],
    function: "Callable[[list[Snapshot]], Awaitable[T]]",
) -> T:
    """Return `await function(snapshots)`, the trees of `places` opened in the store of `args`."""
    from fossil_fs.snapshot import open_snapshot

    family = family_of([place.score for place in places])

    async def run(store: "BlockStore") -> T:
        return await function([await open_snapshot(store, place.score) for place in places])

    return with_store(store_address(args), run, family)


class Complaints:
    """Bad names of a tree: one line each on stderr, and exit status PARTIAL in the end."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.count = 0

    def __call__(self, name: bytes, error: BadTree) -> None:
        from fossil_fs.format.names import show_name

        self.count += 1
        sys.stderr.write(
            f"{self.program}: {printable(show_name(name) or '?')}: {printable(str(error))}\n"
        )

    @property
    def status(self) -> Exit:
        return Exit.PARTIAL if self.count else Exit.OK


def put_line(line: bytes) -> None:
    """Print a line that holds names: as they are into a file or pipe, escaped on a terminal."""
    if sys.stdout.isatty():
        print(printable(os.fsdecode(line)))
    else:
        sys.stdout.buffer.write(line + b"\n")


def named_times(address: str) -> "dict[Score, int]":
    """Return when each score last got a name here, in seconds since 1970."""
    return {named.score: named.time // 1_000_000 for named in names_here(address).all()}
