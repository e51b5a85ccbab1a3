"""Saving an environment that runs: its processes stand still for a moment, and that moment is the state.

before      everything that waits to be written is written, while the programs go on
pause       freeze; write the rest (syncfs); the file system takes the state; thaw
afterwards  the state's blocks go to the store, then its root; the score is there
"""

import time

from fossil_fs.mounting.console import Console
from lib9.faults import fault
from spawngrid.environment import tree
from spawngrid.environment.cgroups.group import Group, read_layout
from spawngrid.environment.interface import Saved
from spawngrid.environment.places import Own


def save(own: Own) -> Saved:
    """Return the score of an environment's root as it is now; whatever happens, its processes go on."""
    console = tree.console(own)
    try:
        return _save(own, console)
    finally:
        console.close()


def _save(own: Own, console: Console) -> Saved:
    guest = Group(read_layout(), own.guest_cgroup)
    tree.sync(own)
    console.ask("sync")
    begun = time.monotonic()
    try:
        frozen = guest.freeze()
        fault("save.frozen")
        tree.sync(own)
        console.ask("epoch")
    finally:
        guest.thaw()
        pause = time.monotonic() - begun
    fault("save.thawed")
    score = console.ask("saved")[1]
    return Saved(score, pause, frozen)
