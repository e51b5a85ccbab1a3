"""Node: what a tree holds of one file, whatever archive it was read from."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fossil_fs.format.xattrs import Xattrs
from venti_store.hashtree.entry import Entry

NOBODY: Final = 65534


@dataclass(frozen=True, slots=True)
class Node:
    """One inode. Nothing of it depends on the host or on the time of a run.

    `content` of a file or a symbolic link holds its bytes, None where there are none; of a
    directory it is the source stream and `meta` the meta stream. `xattrs` has all extended
    attributes where their packed form is within INLINE_MAX, else they are in `xattr_stream`.

    `link`: the number in the root's links streams where several names share this inode (native
    trees only), with `nlink` the count of names. `owner`, `group`, `mid`: names as classic
    archives have them, b"" where the number is all there is. `qid_offset`: what a classic
    directory adds to the qids of everything below it.
    """

    mode: int  # st_mode
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    qid: int = 0
    size: int = 0  # bytes of the content of a file or symbolic link; else 0
    rdev: int = 0  # st_rdev
    content: Entry | None = None
    meta: Entry | None = None
    xattrs: Xattrs = ()
    xattr_stream: Entry | None = None
    link: int | None = None
    nlink: int = 1
    owner: bytes = b""
    group: bytes = b""
    qid_offset: int = 0

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


@dataclass(frozen=True, slots=True)
class Owners:
    """What numbers the owners' names of a classic archive mean here.

    A number is kept in our own archives; else a name of digits is that number; else the mapping
    is asked; else it is `nobody`.
    """

    users: Mapping[bytes, int] = field(default_factory=dict)
    groups: Mapping[bytes, int] = field(default_factory=dict)
    nobody: int = NOBODY

    def uid(self, name: bytes) -> int:
        return self._number(name, self.users)

    def gid(self, name: bytes) -> int:
        return self._number(name, self.groups)

    def _number(self, name: bytes, known: Mapping[bytes, int]) -> int:
        if name in known:
            return known[name]
        if name.isdigit() and len(name) <= 10 and int(name) < 0xFFFFFFFF:
            return int(name)
        return self.nobody


NO_OWNERS: Final = Owners()
