"""Trees that only can be read: the mount as a snapshot sees it, and roots that were saved before."""

from fossil_fs.overlay.base import Base
from fossil_fs.overlay.core import Overlay
from fossil_fs.overlay.tree import Tree
from fossil_fs.scratch.history import Epoch
from fossil_fs.scratch.past import NoRecords, Past
from fossil_fs.snapshot import Snapshot, open_snapshot


async def open_past(overlay: Overlay, epoch: Epoch) -> Tree:
    """Return the tree that a snapshot of the scratch sees; OSError EIO when its base cannot be had."""
    base = overlay.base.another()
    score = overlay.family.parse(epoch.base)
    snapshot = await base.wait(open_snapshot(base.store, score, owners=base.owners))
    return _tree(overlay, Past(overlay.scratch.metadata, epoch), base, snapshot)


def saved_tree(overlay: Overlay, snapshot: Snapshot) -> Tree:
    """Return the tree of a root that was saved."""
    return _tree(overlay, NoRecords(), overlay.base.another(), snapshot)


def _tree(overlay: Overlay, state: Past | NoRecords, base: Base, snapshot: Snapshot) -> Tree:
    base.use_links(snapshot.link_streams)
    return Tree(state, overlay.files, base, snapshot)
