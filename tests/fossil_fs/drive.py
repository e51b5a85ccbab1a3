"""A file system without a kernel: paths resolved by lookups, as the kernel does, and trees compared."""

import errno
import os
import stat
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path

import pytest

from fossil_fs.directory import write_directory
from fossil_fs.filesystem import FossilFilesystem, open_filesystem
from fossil_fs.node import Node
from fossil_fs.overlay import reading
from fossil_fs.overlay.attributes import attributes
from fossil_fs.overlay.listing import Listings
from fossil_fs.overlay.past import open_past
from fossil_fs.overlay.tree import Tree
from fossil_fs.overlay.xattrs import xattr, xattr_names
from fossil_fs.scratch.place import Identity, create_place, new_id
from fossil_fs.scratch.scratch import Scratch
from fossil_fs.snapshot import write_snapshot
from lib9.fuse.interface import Attributes, Buffer, Caller, Changes, Listed, Operations
from venti_store.interfaces import Batch, BlockStore
from venti_store.score import Score, format_score

ME = Caller(uid=0, gid=0, pid=1, umask=0o022)
ROOT = 1


async def empty_root(store: BlockStore) -> Score:
    """Store a tree without files and return its score."""
    batch = Batch(store.family)
    source, meta = write_directory(batch, [])
    root = Node(stat.S_IFDIR | 0o755, mtime_ns=1_000_000_000, qid=7, content=source, meta=meta)
    score = write_snapshot(batch, root)
    await store.put_many(batch.take())
    await store.sync()
    return score


def new_scratch(directory: Path, store: BlockStore, score: Score, size: int = 64 << 20) -> bytes:
    """Make a scratch for a mount of `score` and return where it is."""
    path = os.fsencode(directory / f"scratch-{new_id()}")
    create_place(path, Identity(new_id(), format_score(score), "test", store.family.name, size))
    return path


class Driver:
    """Paths instead of inode numbers; the kernel's counting of lookups included."""

    def __init__(self, fs: FossilFilesystem) -> None:
        self.fs = fs
        self.held: dict[int, int] = {}

    @classmethod
    async def open(cls, store: BlockStore, scratch: bytes) -> "Driver":
        return cls(await open_filesystem(store, Scratch(scratch)))

    def close(self) -> None:
        self.fs.overlay.scratch.close()

    def kill(self) -> None:
        self.fs.overlay.scratch.abandon()

    def _count(self, found: Attributes) -> Attributes:
        self.held[found.ino] = self.held.get(found.ino, 0) + 1
        return found

    def drop_caches(self) -> None:
        """Let the kernel forget everything."""
        for ino, count in reversed(self.held.items()):
            self.fs.forget(ino, count)
        self.held.clear()

    async def ino(self, path: str) -> int:
        ino = ROOT
        for name in filter(None, path.split("/")):
            ino = self._count(await self.fs.lookup(ino, name.encode(), ME)).ino
        return ino

    async def split(self, path: str) -> tuple[int, bytes]:
        parent, _, name = path.rpartition("/")
        ino = await self.ino(parent)
        if not stat.S_ISDIR((await self.fs.getattr(ino, ME)).mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory")  # the kernel looks first
        return ino, name.encode()

    async def stat(self, path: str) -> Attributes:
        return await self.fs.getattr(await self.ino(path), ME)

    async def create(self, path: str, mode: int = 0o644, who: Caller = ME) -> int:
        parent, name = await self.split(path)
        _, found = await self.fs.create(parent, name, mode, os.O_RDWR, who)
        return self._count(found).ino

    async def mkdir(self, path: str, mode: int = 0o755, who: Caller = ME) -> int:
        parent, name = await self.split(path)
        return self._count(await self.fs.mkdir(parent, name, mode, who)).ino

    async def symlink(self, path: str, target: bytes) -> int:
        parent, name = await self.split(path)
        return self._count(await self.fs.symlink(parent, name, target, ME)).ino

    async def mknod(self, path: str, mode: int, rdev: int = 0) -> int:
        parent, name = await self.split(path)
        return self._count(await self.fs.mknod(parent, name, mode, rdev, ME)).ino

    async def link(self, old: str, new: str) -> None:
        ino = await self.ino(old)
        self._count(await self.fs.link(ino, *await self.split(new), ME))

    async def unlink(self, path: str) -> None:
        parent, name = await self.split(path)
        self._count(await self.fs.lookup(parent, name, ME))
        await self.fs.unlink(parent, name, ME)

    async def rmdir(self, path: str) -> None:
        await self.fs.rmdir(*await self.split(path), ME)

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        await self.fs.rename(*await self.split(old), *await self.split(new), flags, ME)

    async def write(self, path: str, offset: int, data: bytes) -> int:
        return await self.fs.write(await self.ino(path), 0, offset, data)

    async def put(self, path: str, data: bytes) -> int:
        ino = await self.create(path)
        if data:
            await self.fs.write(ino, 0, 0, data)
        return ino

    async def truncate(self, path: str, size: int) -> None:
        await self.fs.setattr(await self.ino(path), Changes(size=size), 0, ME)

    async def read(self, path: str, offset: int = 0, size: int = 1 << 30) -> bytes:
        ino = await self.ino(path)
        parts = await self.fs.read(ino, 0, offset, size)
        return b"".join(parts)

    async def names(self, path: str) -> list[str]:
        """List a directory as the kernel does: a few entries at a time."""
        ino = await self.ino(path)
        found: list[str] = []
        offset, step = 0, 1
        while True:
            got = 0
            for entry in await self.fs.readdir(ino, 0, offset, ME):
                self.fs.listed(entry.attributes.ino)
                self._count(entry.attributes)
                found.append(entry.name.decode())
                offset = entry.offset
                got += 1
                if got == step:
                    break
            if not got:
                return found
            step = min(step * 2, 100)

    async def save(self) -> Score:
        return await self.fs.saver.save()

    async def tree(self, path: str = "", *, contents: bool = True) -> dict[str, tuple[object, ...]]:
        """Return everything below a path that a save keeps."""
        found: dict[str, tuple[object, ...]] = {}
        for name in await self.names(path):
            below = f"{path}/{name}"
            a = await self.stat(below)
            what: object = None
            if stat.S_ISREG(a.mode) and contents:
                what = await self.read(below)
            elif stat.S_ISLNK(a.mode):
                what = await self.fs.readlink(a.ino, ME)
            xattrs = {
                n: await self.fs.getxattr(a.ino, n, ME) for n in await self.fs.listxattr(a.ino, ME)
            }
            links = 0 if stat.S_ISDIR(a.mode) else a.nlink
            found[below] = (a.mode, a.uid, a.gid, a.mtime_ns, a.rdev, links, what, xattrs)
            if stat.S_ISDIR(a.mode):
                found |= await self.tree(below, contents=contents)
        return found


class Reading(Operations):
    """A tree that only can be read, as the engine would see it."""

    def __init__(self, tree: Tree) -> None:
        self.of = tree
        self._listings = Listings(tree)

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Attributes:
        ino = await self.of.find(parent, name)
        self.of.table.hold(ino)
        return attributes(self.of, ino)

    async def getattr(self, ino: int, who: Caller) -> Attributes:
        return attributes(self.of, ino)

    async def readdir(self, ino: int, handle: int, offset: int, who: Caller) -> Iterable[Listed]:
        return await self._listings.entries(ino, offset)

    def listed(self, ino: int) -> None:
        self.of.table.hold(ino)

    async def read(self, ino: int, handle: int, offset: int, size: int) -> Sequence[Buffer]:
        return await reading.read(self.of, ino, offset, size)

    async def readlink(self, ino: int, who: Caller) -> bytes:
        return await reading.read_link(self.of, ino)

    async def getxattr(self, ino: int, name: bytes, who: Caller) -> bytes:
        return await xattr(self.of, ino, name)

    async def listxattr(self, ino: int, who: Caller) -> Sequence[bytes]:
        return await xattr_names(self.of, ino)


async def seen(driver: Driver, number: int) -> Driver:
    """Return a driver of what a snapshot sees."""
    fs = driver.fs
    tree = await open_past(fs.overlay, fs.snapshots.get(number))
    return Driver(Reading(tree))  # type: ignore[arg-type]


async def fails(number: int, awaitable: Awaitable[object]) -> None:
    with pytest.raises(OSError) as caught:
        await awaitable
    assert caught.value.errno == number, caught.value


async def remount(driver: Driver, store: BlockStore, tmp_path: Path) -> Driver:
    """Save, and mount the new score elsewhere."""
    score = await driver.save()
    return await Driver.open(store, new_scratch(tmp_path, store, score))


async def same_after_save(driver: Driver, store: BlockStore, tmp_path: Path) -> None:
    before = await driver.tree()
    other = await remount(driver, store, tmp_path)
    assert await other.tree() == before
    assert await driver.tree() == before
    driver.drop_caches()
    assert await driver.tree() == before
    assert driver.fs.overlay.scratch.is_clean
    assert driver.fs.overlay.scratch.files.numbers() == []
    other.close()
