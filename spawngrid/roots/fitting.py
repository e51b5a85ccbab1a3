"""A stored tree gets what environments need in it, and is a root then; trees as directories, for a while."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fossil_fs.mounting.console import Console
from fossil_fs.mounting.options import Mounting
from fossil_fs.mounting.point import sync_mount
from fossil_fs.mounting.registry import Registry
from fossil_fs.mounting.start import check_root, start_mount
from fossil_fs.mounting.unmount import unmount
from fossil_fs.scratch.place import Identity, create_place, new_id, remove_tree
from lib9.errors import SpawngridError
from lib9.fuse import mounts
from spawngrid.environment import fit
from venti_store.open import is_local
from venti_store.score import FAMILY_OF_SIZE, parse_score

_SCRATCH_BYTES = 16 << 20  # for a few empty directories and files


def make_root(score: str, store: str, run_directory: str) -> str:
    """Return the score of a tree with all that an environment needs in it; UnfitRoot.

    A tree that has it all keeps its score.
    """
    with mounted(score, store, run_directory, read_only=False) as (point, console):
        root = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fit.make_fit(root)
        finally:
            os.close(root)
        sync_mount(os.fsencode(point))
        return console.ask("save")[1]


@contextmanager
def mounted(
    score: str, store: str, run_directory: str, *, read_only: bool
) -> Iterator[tuple[str, Console]]:
    """Mount a tree in a directory of its own; it is gone afterwards."""
    mount_id = new_id()
    registry = Registry(run_directory)
    with tempfile.TemporaryDirectory(prefix="grid-root-") as folder:
        point, place = os.path.join(folder, "root"), os.path.join(folder, "scratch")
        os.mkdir(point, 0o700)
        local = is_local(store)
        if local:
            check_root(store, parse_score(score))
        family = FAMILY_OF_SIZE[len(parse_score(score))].name
        identity = Identity(mount_id, score, store, family, _SCRATCH_BYTES)
        create_place(os.fsencode(place), identity)
        wanted = Mounting(mount_id, os.fsencode(point), os.fsencode(place), read_only=read_only)
        start_mount(wanted, identity, registry, wait=True)
        console = Console(registry.path(mount_id, "sock"))
        try:
            yield point, console
            running = next(r for r in registry.all() if r.id == mount_id)
            unmount(console, running, discard=True)
        finally:
            console.close()
            with suppress(SpawngridError, OSError):
                mounts.unmount(os.fsencode(point), lazy=True)
            with suppress(OSError):
                remove_tree(os.fsencode(place))
