"""`snapshot` and `archive` in the control directory: what the scratch and the store have of the past."""

import stat
from collections import OrderedDict
from errno import ESTALE
from typing import Final

from fossil_fs.control.item import Folder, Item
from fossil_fs.control.past import Dates, Make, PastView
from fossil_fs.filesystem import FossilFilesystem
from fossil_fs.mounting.control import about_now
from fossil_fs.mounting.schedule import day_names
from fossil_fs.overlay.past import open_past, saved_tree
from fossil_fs.scratch.history import Epoch
from fossil_fs.snapshot import Snapshot, open_snapshot
from venti_store.errors import NoSuchBlock
from venti_store.score import Score

ROOTS_MAX: Final = 4096  # saved roots that are followed back
VIEWS_MAX: Final = 64  # trees of the past whose caches are kept


class History:
    """The trees of the past of one mount, opened when they are looked at."""

    def __init__(self, filesystem: FossilFilesystem) -> None:
        self._filesystem = filesystem
        self._overlay = filesystem.overlay
        self._views: OrderedDict[object, PastView] = OrderedDict()
        self._saved: dict[Score, tuple[int, Score | None]] = {}  # time and the root before

    def fill(self, folder: Folder) -> None:
        """Put `snapshot` and `archive` into the control directory."""
        folder.put(b"snapshot", self._snapshots)
        folder.put(b"archive", self._archives)

    async def _snapshots(self) -> Item:
        paths = {epoch.name: self._snapshot_maker(epoch) for epoch in self._filesystem.snapshots}
        return Dates("snapshot", about_now(stat.S_IFDIR | 0o555), paths)

    def _snapshot_maker(self, epoch: Epoch) -> Make:
        key = ("snapshot", epoch.number)

        def need() -> None:
            if epoch not in self._overlay.scratch.epochs:
                self._views.pop(key, None)
                raise OSError(ESTALE, "snapshot has been deleted")

        async def make() -> Item:
            need()
            view = self._views.get(key)
            if view is None:
                view = PastView(key, await open_past(self._overlay, epoch), need)
            return self._keep(view)

        return make

    async def _archives(self) -> Item:
        chain = await self._chain()
        paths = {
            name: self._archive_maker(score)
            for name, (_, score) in zip(
                day_names([moment for moment, _ in chain]), chain, strict=True
            )
        }
        return Dates("archive", about_now(stat.S_IFDIR | 0o555), paths)

    async def _chain(self) -> list[tuple[int, Score]]:
        """Return time and score of the saved roots that lead to the present base, oldest first."""
        found: list[tuple[int, Score]] = []
        score: Score | None = self._overlay.snapshot.score
        while score is not None and len(found) < ROOTS_MAX:
            known = self._saved.get(score)
            if known is None:
                snapshot = await self._open(score)
                if snapshot is None:
                    break  # earlier roots are not in this store
                moment = snapshot.saved_ns or snapshot.root.mtime_ns
                known = self._saved[score] = moment, snapshot.prev
            found.append((known[0], score))
            score = known[1]
        return found[::-1]

    async def _open(self, score: Score) -> Snapshot | None:
        base = self._overlay.base

        async def maybe() -> Snapshot | None:
            try:
                return await open_snapshot(base.store, score, owners=base.owners)
            except NoSuchBlock:
                return None

        return await base.wait(maybe())

    def _archive_maker(self, score: Score) -> Make:
        key = ("archive", score)

        async def make() -> Item:
            view = self._views.get(key)
            if view is None:
                base = self._overlay.base
                opened = await base.wait(open_snapshot(base.store, score, owners=base.owners))
                view = PastView(key, saved_tree(self._overlay, opened), lambda: None)
            return self._keep(view)

        return make

    def _keep(self, view: PastView) -> Item:
        self._views[view.key] = view
        self._views.move_to_end(view.key)
        if len(self._views) > VIEWS_MAX:
            self._views.popitem(last=False)
        return view.root()
