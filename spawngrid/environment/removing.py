"""Taking an environment away, wherever its making or its life has ended. Nothing needs to be there.

Every step finds its things by the environment's id or slot and may be repeated; the record goes last, so
who is killed in between leaves the rest to whoever comes next.
"""

import shutil
from contextlib import suppress

from lib9.faults import fault
from spawngrid.environment import hubs, network, record, tree
from spawngrid.environment.cgroups.group import Group, read_layout
from spawngrid.environment.interface import Mended
from spawngrid.environment.places import Own
from spawngrid.environment.runtimes.choosing import ALL


def remove(own: Own, entry: record.Entry | None, *, keep_scratch: bool = False) -> list[Mended]:
    """Remove all that is an environment's; tell what there was.

    `keep_scratch`: a scratch on disk with unsaved changes stays. TimeoutError if a process hangs in the
    kernel: then the record stays.
    """
    layout = read_layout()
    done: list[Mended] = []
    guest, service = Group(layout, own.guest_cgroup), Group(layout, own.service_cgroup)
    if guest.processes():
        guest.kill()
        done.append(Mended("process", own.id, "ended"))
    fault("stop.killed")
    keep = keep_scratch and entry is not None and entry.spec.scratch_on_disk
    if tree.is_mounted(own):
        done.append(Mended("mount", own.mount, "unmounted"))
    tree.take_away(own, keep_scratch=keep)
    fault("stop.unmounted")
    if service.processes():
        service.kill()
        done.append(Mended("process", own.id, "ended"))
    if entry is not None:
        if network.disconnect(own.node, entry.slot):
            done.append(Mended("network", network.link(own.node, entry.slot), "removed"))
        if not keep and tree.remove_scratch(tree.scratch_of(own, entry.spec)):
            done.append(Mended("scratch", own.id, "removed"))
    if hubs.remove(own):
        done.append(Mended("hub", own.id, "removed"))
    groups = (guest, service, Group(layout, own.cgroup))
    done += [Mended("cgroup", group.path, "removed") for group in groups if group.remove()]
    fault("stop.removed")
    for runtime in ALL.values():
        runtime.remove(own)
    with suppress(FileNotFoundError):
        shutil.rmtree(own.folder)
        done.append(Mended("record", own.id, "removed"))
    return done
