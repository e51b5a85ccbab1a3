"""The file system of an environment: a fossil mount of its own, in a process of its own."""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from fossil_fs.ids import Shift
from fossil_fs.mounting.console import Console, Unanswered
from fossil_fs.mounting.options import Mounting
from fossil_fs.mounting.point import sync_mount
from fossil_fs.mounting.registry import Registry, Running, is_alive
from fossil_fs.mounting.start import check_root, start_mount
from fossil_fs.scratch.budget import SIZE_MIN
from fossil_fs.scratch.place import Identity, create_place, is_in_use, remove_tree
from lib9.errors import SpawngridError, UsageError
from lib9.fuse import mounts
from lib9.places import private_directory
from lib9.sizes import format_size
from spawngrid.environment.interface import Spec
from spawngrid.environment.places import Own, Places
from spawngrid.environment.processes import end, start_time, wait_until
from venti_store.open import is_local
from venti_store.score import FAMILY_OF_SIZE, parse_score

RAM: Final = "/dev/shm"
DAEMON_SECONDS_MAX: Final = 10.0  # from the end of a mount to the end of its daemon


def scratch_of(own: Own, spec: Spec) -> str:
    """Return where an environment's changes go."""
    if spec.scratch_on_disk:
        return os.path.join(own.node.state, "fossil", own.id)
    return os.path.join(RAM, f"fossil-{os.geteuid()}-{own.node.key}", own.id)


def check(spec: Spec) -> None:
    """Make sure that the root is there, as far as can be told before it is mounted; NoSuchBlock."""
    if spec.scratch_bytes < SIZE_MIN:
        raise UsageError(f"a scratch of {spec.scratch_bytes}: at least {format_size(SIZE_MIN)}")
    score = parse_score(spec.score)
    if is_local(spec.store):
        check_root(os.path.abspath(spec.store), score)


def mount(
    own: Own,
    spec: Spec,
    *,
    shift: Shift | None = None,
    kill_at: str = "",
    not_ours: tuple[int, ...] = (),
) -> None:
    """Mount a root with a scratch of its own; returns when it can be used, or what is wrong is raised."""
    score = parse_score(spec.score)
    local = is_local(spec.store)
    identity = Identity(
        id=own.id,
        base=spec.score,
        store=os.path.abspath(spec.store) if local else spec.store,
        family=FAMILY_OF_SIZE[len(score)].name,
        size=spec.scratch_bytes,
        ram=not spec.scratch_on_disk,
    )
    place = os.fsencode(scratch_of(own, spec))
    private_directory(os.path.dirname(os.fsdecode(place)))
    create_place(place, identity)
    os.makedirs(own.mount, mode=0o700, exist_ok=True)
    wanted = Mounting(
        own.id, os.fsencode(own.mount), place, control=b"", guests=True, id_shift=shift
    )
    registry = Registry(own.node.run)
    start_mount(wanted, identity, registry, wait=True, kill_at=kill_at, not_ours=not_ours)


def running(own: Own) -> Running | None:
    """Return the mount's record if its daemon runs."""
    for found in Registry(own.node.run).all():
        if found.id == own.id:
            return found if is_alive(found.pid) else None
    return None


def console(own: Own) -> Console:
    """Return the mount's console; Unanswered at once if there is no daemon."""
    if running(own) is None:
        raise Unanswered(f"{own.id}: the daemon of its file system is gone")
    return Console(Registry(own.node.run).path(own.id, "sock"))


def sync(own: Own) -> None:
    sync_mount(os.fsencode(own.mount))


@dataclass(frozen=True, slots=True)
class Space:
    """What the mount says of itself."""

    used: int
    unsaved: bool
    score: str


def space(own: Own) -> Space | None:
    """Return how much of the scratch is used; None if nobody answers."""
    try:
        asked = console(own)
        try:
            lines, _ = asked.ask("status")
        finally:
            asked.close()
    except SpawngridError:
        return None
    facts = dict(line.partition("=")[::2] for line in lines)
    return Space(int(facts["used"]), facts["unsaved"] == "1", facts["score"])


def is_mounted(own: Own) -> bool:
    """Tell from the mount table; a mount that hangs is never asked."""
    return os.fsencode(own.mount) in {mount.point for mount in mounts.read_mounts()}


def take_away(own: Own, *, keep_scratch: bool) -> None:
    """Unmount, end the daemon, remove the scratch unless it is to be kept. Nothing needs to be there."""
    found = next((r for r in Registry(own.node.run).all() if r.id == own.id), None)
    if found is not None and not keep_scratch:
        _tell(own, "discard")
    while is_mounted(own):
        mounts.unmount(os.fsencode(own.mount), lazy=True)
    if found is not None:
        _end_daemon(found)
        Registry(own.node.run).remove(own.id)
    with suppress(FileNotFoundError):
        os.unlink(Registry(own.node.run).path(own.id, "log"))


def _tell(own: Own, word: str) -> None:
    with suppress(SpawngridError):
        asked = console(own)
        try:
            asked.ask(word)
        finally:
            asked.close()


def _end_daemon(found: Running) -> None:
    """Let the daemon end by itself; one that hangs loses its connection, then its life."""
    if wait_until(lambda: not is_alive(found.pid), DAEMON_SECONDS_MAX):
        return
    with suppress(SpawngridError, OSError):
        mounts.abort(found.minor)
    start = start_time(found.pid)
    if start is not None and not wait_until(lambda: not is_alive(found.pid), 1.0):
        end(found.pid, start)


def remove_scratch(scratch: str) -> bool:
    """Remove a scratch that nobody has open; tell whether it was there."""
    place = os.fsencode(scratch)
    if not os.path.isdir(place) or is_in_use(place):
        return False
    remove_tree(place)
    with suppress(OSError):
        os.rmdir(os.path.dirname(place))
    return True


def scratches_in_memory(places: Places) -> list[str]:
    """Return the scratches of this node that take memory."""
    folder = os.path.join(RAM, f"fossil-{os.geteuid()}-{places.key}")
    try:
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    except FileNotFoundError:
        return []
