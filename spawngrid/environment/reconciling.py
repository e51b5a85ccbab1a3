"""What nobody owns any more: found by its name, which has the environment's id or slot in it, and removed.

An environment that somebody is just starting, saving or stopping has its lock held, and is left alone.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress

from lib9.fuse import mounts
from spawngrid.environment import hubs, network, record, tree
from spawngrid.environment.cgroups.group import Group, children, read_layout
from spawngrid.environment.interface import Mended
from spawngrid.environment.places import Own, Places, is_id
from spawngrid.environment.removing import remove


def reconcile(places: Places) -> list[Mended]:
    """Remove what `orphans` finds; tell what was done."""
    done: list[Mended] = []
    for environment_id in _broken(places):
        own = places.of(environment_id)
        done += remove(own, record.read(own), keep_scratch=True)
    for environment_id in _nameless(places):
        done += remove(places.of(environment_id), None)
    for group in _held_still(places):
        group.thaw()
        done.append(Mended("process", group.path, "set going again"))
    slots = _slots(places)
    for slot in set(network.links(places)) - slots:
        network.disconnect(places, slot)
        done.append(Mended("network", network.link(places, slot), "removed"))
    for scratch in _stray_scratches(places):
        if tree.remove_scratch(scratch):
            done.append(Mended("scratch", scratch, "removed"))
    return done


def orphans(places: Places) -> list[Mended]:
    """Return what has no owner, one item for each thing; nothing is changed."""
    found = [Mended("record", each, "to be removed") for each in _broken(places)]
    found += [Mended("process", g.path, "to be set going again") for g in _held_still(places)]
    known, layout = set(record.ids(places)), read_layout()
    for name in sorted(children(layout, places.cgroup) - known):
        group = Group(layout, f"{places.cgroup}/{name}")
        found.append(Mended("cgroup", group.path, "to be removed"))
        found += [Mended("process", str(pid), "to be ended") for pid in sorted(group.processes())]
    found += [Mended("mount", m, "to be unmounted") for i, m in _mounts(places) if i not in known]
    found += [
        Mended("hub", name, "to be removed")
        for name in hubs.groups(places)
        if is_id(name) and name not in known
    ]
    slots = _slots(places)
    found += [
        Mended("network", network.link(places, slot), "to be removed")
        for slot in network.links(places)
        if slot not in slots
    ]
    found += [Mended("scratch", path, "to be removed") for path in _stray_scratches(places)]
    return found


def _broken(places: Places) -> Iterator[str]:
    """Give the environments that were being made or removed when that died, and the lost ones."""
    for environment_id in record.ids(places):
        own = places.of(environment_id)
        if is_held(own):
            continue
        entry = record.read(own)
        if entry is None or entry.state != "running" or tree.running(own) is None:
            yield environment_id


def _held_still(places: Places) -> Iterator[Group]:
    """Give the groups whose processes were stopped by a save that died."""
    layout = read_layout()
    for environment_id in record.ids(places):
        own = places.of(environment_id)
        group = Group(layout, own.guest_cgroup)
        if not is_held(own) and group.is_frozen():
            yield group


def _nameless(places: Places) -> set[str]:
    """Return ids of which there is something, but no record."""
    found = {name for name in children(read_layout(), places.cgroup) if is_id(name)}
    found |= {environment_id for environment_id, _ in _mounts(places)}
    found |= {name for name in hubs.groups(places) if is_id(name)}
    with suppress(FileNotFoundError):
        found |= {name for name in os.listdir(places.runc) if is_id(name)}
    return found - set(record.ids(places))


def _mounts(places: Places) -> Iterator[tuple[str, str]]:
    prefix = os.fsencode(places.folder) + b"/"
    for mount in mounts.read_mounts():
        if mount.point.startswith(prefix):
            environment_id = os.fsdecode(mount.point[len(prefix) :].split(b"/")[0])
            if is_id(environment_id):
                yield environment_id, os.fsdecode(mount.point)


def _slots(places: Places) -> set[int]:
    entries = [record.read(places.of(each)) for each in record.ids(places)]
    return {entry.slot for entry in entries if entry is not None}


def _stray_scratches(places: Places) -> list[str]:
    known = set(record.ids(places))
    return [
        path for path in tree.scratches_in_memory(places) if os.path.basename(path) not in known
    ]


def is_held(own: Own) -> bool:
    """Tell whether somebody is at work on an environment."""
    try:
        descriptor = os.open(own.path("lock"), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
