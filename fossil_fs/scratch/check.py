"""Whether the records of a scratch agree with each other and with its layers.

| invariant | says |
|---|---|
| records | every record of the scratch can be unpacked |
| names | a name leads to an inode with a record, or is gone; it is in a directory with a record |
| chain | names lead from the root to every inode that has one |
| links | an inode whose names are all in the scratch has as many as its count says |
| layers | a layer of a record is there, and is of no other inode |
| size | no layer on top is longer than its file |
| inline | a small file has its bytes in the metadata, and no layers beside them |
| xattrs | extended attributes in the scratch belong to an inode that says so |
| orphans | an inode without a name is among the orphans |
| space | the space that is counted is the space that is taken, and within the cap |

It takes about 30 bytes of memory for each inode with a record.
"""

import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from fossil_fs.scratch import records
from fossil_fs.scratch.datafiles import DataFiles
from fossil_fs.scratch.errors import ScratchDamaged
from fossil_fs.scratch.records import GONE, INLINE, INLINE_SIZE_MAX, ROOT, XATTRS_HERE, Inode
from fossil_fs.scratch.scratch import Records, Scratch
from lib9.sizes import format_count

STEP: Final = 1000  # records between two empty answers, where a caller may let others run
_NOWHERE: Final = 0xFFFFFFFF


class RecordsCheck:
    """The check of one state. `layers`: which inode each layer that was seen belongs to."""

    def __init__(self, state: Records, files: DataFiles, *, is_past: bool = False) -> None:
        self._state = state
        self._is_past = is_past  # orphans are those of the present
        self._files = files
        self._inos = array("Q")  # in order
        self._modes = array("I")
        self._links = array("I")  # how many names an inode says that it has
        self._names = array("I")  # how many it has here
        self._above = array("I")  # the place in these arrays of a directory that it is in
        self._elsewhere = bytearray()  # 1: names of it may be in the base
        self.layers: dict[int, int] = {}
        self.inodes = self.names = 0

    def run(self) -> Iterator[str]:
        """Give a line for everything that is wrong; empty ones so that others may run."""
        for part in (self._inodes, self._directories, self._chain, self._contents, self._xattrs):
            try:
                for count, line in enumerate(part()):
                    if line or count % STEP == 0:
                        yield line
            except ScratchDamaged as error:
                yield f"records: {error}"

    def _place(self, ino: int) -> int:
        """Return where an inode is in the arrays, _NOWHERE if it has no record."""
        place = bisect_left(self._inos, ino)
        return place if place < len(self._inos) and self._inos[place] == ino else _NOWHERE

    def _inodes(self) -> Iterator[str]:
        for rest, value in self._state.scan(b"i"):
            ino, inode = records.unpack_number(rest), records.unpack_inode(value)
            self._inos.append(ino)
            self._modes.append(inode.mode)
            self._links.append(min(inode.nlink, _NOWHERE))
            self._names.append(0)
            self._above.append(_NOWHERE)
            self._elsewhere.append(inode.link >= 0)
            self.inodes += 1
            yield from self._layers(ino, inode)
            yield from self._inline(ino, inode)

    def _layers(self, ino: int, inode: Inode) -> Iterator[str]:
        yield ""
        here = self._files.allocated_or_none
        for layer in inode.layers:
            other = self.layers.setdefault(layer.number, ino)
            if other != ino:
                yield f"layers: layer {layer.number} is of inodes {other} and {ino}"
            if here(layer.number) is None:
                yield f"layers: inode {ino} lacks layer {layer.number}"
                return
        if inode.layers and self._files.length(inode.layers[-1].number) > inode.size:
            yield f"size: inode {ino} has {format_count(inode.size, 'byte')}, its layer has more"

    def _inline(self, ino: int, inode: Inode) -> Iterator[str]:
        if not inode.flags & INLINE:
            return
        content = self._state.get(records.content_key(ino)) or b""
        if inode.layers or inode.content or inode.size > INLINE_SIZE_MAX:
            yield f"inline: inode {ino} of {format_count(inode.size, 'byte')} has more than its inline bytes"
        if len(content) > inode.size:
            yield f"inline: inode {ino} has {format_count(inode.size, 'byte')}, {len(content)} there"

    def _directories(self) -> Iterator[str]:
        for rest, value in self._state.scan(b"d"):
            yield ""
            self.names += 1
            directory, ino = records.unpack_number(rest[:8]), records.unpack_number(value)
            name = rest[8:]
            above = self._place(directory)
            if above == _NOWHERE:
                yield f"names: {name!r} is in inode {directory}, which has no record"
                continue
            if not stat.S_ISDIR(self._modes[above]):
                yield f"names: {name!r} is in inode {directory}, which is no directory"
            if ino == GONE:
                continue
            place = self._place(ino)
            if place == _NOWHERE:
                yield f"names: {name!r} leads to inode {ino}, which has no record"
                continue
            self._names[place] += 1
            self._above[place] = above

    def _chain(self) -> Iterator[str]:
        """Look that every inode is below the root, has the names it should, or is an orphan."""
        good = bytearray(len(self._inos))
        root = self._place(ROOT)
        if root != _NOWHERE:
            good[root] = 1
        elif len(self._inos):
            yield from self._without_root()
        for place, ino in enumerate(self._inos):
            yield ""
            if ino == ROOT:
                continue
            yield from self._count(place, ino)
            named = self._names[place] and not self._elsewhere[place]
            if named and not self._is_below_root(place, good):
                yield f"chain: inode {ino} is not below the root"

    def _without_root(self) -> Iterator[str]:
        if any(not self._is_orphan(ino) for ino in self._inos):
            yield "chain: there are inodes with names, and no root"

    def _is_orphan(self, ino: int) -> bool:
        return self._is_past or self._state.get(records.orphan_key(ino)) is not None

    def _count(self, place: int, ino: int) -> Iterator[str]:
        links, names = self._links[place], self._names[place]
        is_dir = stat.S_ISDIR(self._modes[place])
        if links == 0:
            if names:
                yield f"links: inode {ino} counts no names, {names} there"
            elif not self._is_orphan(ino):
                yield f"orphans: inode {ino} has no name and is not among the orphans"
        elif self._elsewhere[place]:
            if names > links:
                yield f"links: inode {ino} counts {format_count(links, 'name')}, {names} there"
        elif names != (1 if is_dir else links):
            yield f"links: inode {ino} counts {format_count(links, 'name')}, {names} there"

    def _is_below_root(self, place: int, good: bytearray) -> bool:
        way: list[int] = []
        while not good[place]:
            above = self._above[place]
            if above == _NOWHERE or len(way) > len(good):
                return False
            way.append(place)
            place = above
        for step in way:
            good[step] = 1
        return True

    def _contents(self) -> Iterator[str]:
        for rest, _ in self._state.scan(b"c"):
            yield ""
            ino = records.unpack_number(rest)
            inode = self._state.inode(ino)
            if inode is None:
                yield f"inline: bytes of inode {ino}, which has no record"
            elif not inode.flags & INLINE and not stat.S_ISLNK(inode.mode):
                yield f"inline: bytes of inode {ino}, which is not inline"

    def _xattrs(self) -> Iterator[str]:
        last = None
        for rest, _ in self._state.scan(b"x"):
            yield ""
            ino = records.unpack_number(rest[:8])
            if ino == last:
                continue
            last = ino
            inode = self._state.inode(ino)
            if inode is None or not inode.flags & XATTRS_HERE:
                yield f"xattrs: extended attributes of inode {ino}, which does not say so"


def check_space(scratch: Scratch) -> Iterator[str]:
    """Give a line for layers and sizes that are not what is counted."""
    counted, taken = scratch.files.compare()
    for number in sorted(counted.keys() ^ taken.keys()):
        if number in taken:
            yield f"space: layer {number} is there and not counted"
        else:
            yield f"space: layer {number} is counted and not there"
    for number in counted.keys() & taken.keys():
        if counted[number] != taken[number]:
            taken_bytes = format_count(taken[number], "byte")
            yield f"space: layer {number} takes {taken_bytes}, {counted[number]:,} counted"
    for key, inode in scratch.past_inodes():
        for layer in inode.layers:
            if layer.number not in counted:
                ino = records.unpack_number(key[2:10])
                yield f"layers: a snapshot lacks layer {layer.number} of inode {ino}"
    if scratch.used() > scratch.budget.size:
        yield f"space: {format_count(scratch.used(), 'byte')} used, the cap is {scratch.budget.size}"
