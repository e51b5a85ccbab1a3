"""The file system without a kernel: every operation, its errors, and what a save keeps."""

import errno
import os
import stat
import struct
from pathlib import Path

import pytest

from fossil_fs.overlay.listing import cookie_of
from lib9.fuse.interface import Caller, Changes
from tests.fossil_fs.drive import (
    ME,
    ROOT,
    Driver,
    fails,
    remount,
    same_after_save,
)
from venti_store.stores.memory import MemoryStore

UNIT = 64 << 10
SIZES = [0, 1, 4095, UNIT - 1, UNIT, UNIT + 1, 3 * UNIT, 5 * UNIT + 77]


@pytest.mark.parametrize("size", SIZES)
async def test_files_of_every_size(
    fs: Driver, store: MemoryStore, tmp_path: Path, size: int
) -> None:
    data = os.urandom(size)
    await fs.put("f", data)
    assert await fs.read("f") == data
    assert (await fs.stat("f")).size == size
    await same_after_save(fs, store, tmp_path)
    assert await fs.read("f") == data


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("size", SIZES)
async def test_writes_and_cuts_anywhere(
    fs: Driver, store: MemoryStore, tmp_path: Path, size: int, saved: bool
) -> None:
    model = bytearray(os.urandom(size))
    await fs.put("f", bytes(model))
    steps: list[tuple[str, int, int]] = [
        ("write", UNIT - 10, 20),
        ("write", 10, 4),
        ("cut", 2 * UNIT + 100, 0),
        ("write", 4 * UNIT + 5, 3 * UNIT),
        ("cut", 2 * UNIT - 30, 0),
        ("cut", 6 * UNIT, 0),
        ("write", 3 * UNIT + 1, 1),
        ("cut", 100, 0),
        ("cut", 2 * UNIT, 0),
        ("write", UNIT, 100),
    ]
    for number, (what, offset, length) in enumerate(steps):
        if saved and number % 2 == 0:
            await fs.save()
        if what == "write":
            data = os.urandom(length)
            await fs.write("f", offset, data)
            model.extend(bytes(max(0, offset + length - len(model))))
            model[offset : offset + length] = data
        else:
            await fs.truncate("f", offset)
            del model[offset:]
            model.extend(bytes(offset - len(model)))
        assert await fs.read("f") == bytes(model), (number, what)
    await same_after_save(fs, store, tmp_path)


async def test_every_kind_of_file_is_saved(fs: Driver, store: MemoryStore, tmp_path: Path) -> None:
    await fs.mkdir("d", 0o2755)
    await fs.put("d/file", b"text")
    await fs.symlink("d/link", b"../somewhere/else")
    await fs.mknod("d/fifo", stat.S_IFIFO | 0o600)
    await fs.mknod("d/socket", stat.S_IFSOCK | 0o600)
    await fs.mknod("d/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    await fs.mknod("d/disk", stat.S_IFBLK | 0o660, os.makedev(8, 300))
    await fs.mkdir("d/empty")
    ino = await fs.ino("d/file")
    await fs.fs.setattr(
        ino, Changes(mode=0o6711, uid=1000, gid=70000, mtime_ns=-5_000_000_001), 0, ME
    )
    await fs.fs.setxattr(ino, b"user.small", b"v", 0, ME)
    await fs.fs.setxattr(await fs.ino("d"), b"user.large", bytes(3000), 0, ME)
    await same_after_save(fs, store, tmp_path)
    assert (await fs.stat("d/file")).mode == stat.S_IFREG | 0o6711


async def test_unchanged_keeps_its_score(fs: Driver, store: MemoryStore) -> None:
    first = await fs.save()
    assert first == fs.fs.overlay.snapshot.score
    await fs.put("f", b"x")
    second = await fs.save()
    assert second != first
    assert await fs.save() == second
    await fs.stat("f")
    await fs.fs.setattr(await fs.ino("f"), Changes(atime_ns=5), 0, ME)
    assert await fs.save() == second, "atime is not part of a tree"
    assert fs.fs.overlay.scratch.is_clean


async def test_errors_of_names(fs: Driver) -> None:
    await fs.mkdir("d")
    await fs.put("d/f", b"")
    await fails(errno.ENOENT, fs.stat("none"))
    await fails(errno.EEXIST, fs.create("d/f"))
    await fails(errno.EEXIST, fs.mkdir("d"))
    await fails(errno.EEXIST, fs.symlink("d", b"x"))
    await fails(errno.EEXIST, fs.link("d/f", "d/f"))
    await fails(errno.EISDIR, fs.unlink("d"))
    await fails(errno.ENOTDIR, fs.rmdir("d/f"))
    await fails(errno.ENOTEMPTY, fs.rmdir("d"))
    await fails(errno.ENOTDIR, fs.stat("d/f/x"))
    await fails(errno.ENAMETOOLONG, fs.create("x" * 256))
    await fs.create("x" * 255)
    await fails(errno.EPERM, fs.link("d", "e"))
    await fails(errno.EINVAL, fs.fs.readlink(await fs.ino("d/f"), ME))
    await fails(errno.EISDIR, fs.fs.read(await fs.ino("d"), 0, 0, 10))
    await fails(errno.ESTALE, fs.fs.getattr(12345, ME))
    await fails(errno.EFBIG, fs.fs.write(await fs.ino("d/f"), 0, 1 << 48, b"x"))


@pytest.mark.parametrize("saved", [False, True])
async def test_rename(fs: Driver, store: MemoryStore, tmp_path: Path, saved: bool) -> None:
    async def settle() -> None:
        if saved:
            await fs.save()
            fs.drop_caches()

    await fs.mkdir("a")
    await fs.mkdir("b")
    await fs.put("a/f", b"f")
    await fs.put("a/g", b"g")
    await fs.mkdir("a/sub")
    await fs.put("a/sub/deep", b"deep")
    await settle()
    await fails(errno.EEXIST, fs.rename("a/f", "a/g", 1))
    await fails(errno.ENOENT, fs.rename("a/f", "a/none", 2))
    await fails(errno.EINVAL, fs.rename("a", "a/sub/a"))
    await fails(errno.EISDIR, fs.rename("a/f", "b"))
    await fails(errno.ENOTDIR, fs.rename("b", "a/f"))
    await fails(errno.ENOTEMPTY, fs.rename("b", "a"))
    await fails(errno.EINVAL, fs.rename("a/f", "a/h", 8))
    await fs.rename("a/f", "a/f")
    await fs.rename("a/sub", "b/moved", 1)
    await settle()
    assert await fs.read("b/moved/deep") == b"deep"
    await fs.rename("a/f", "b/moved", 2)
    assert await fs.read("b/moved") == b"f"
    assert await fs.read("a/f/deep") == b"deep"
    await settle()
    await fs.rename("b/moved", "a/g")
    assert await fs.names("b") == []
    assert await fs.read("a/g") == b"f"
    await fs.mkdir("b/empty")
    await settle()
    await fs.rename("a/f", "b/empty")
    assert await fs.names("a") == ["g"]
    assert await fs.read("b/empty/deep") == b"deep"
    await fails(errno.ENOENT, fs.stat("a/f"))
    await same_after_save(fs, store, tmp_path)


@pytest.mark.parametrize("saved", [False, True])
async def test_hard_links(fs: Driver, store: MemoryStore, tmp_path: Path, saved: bool) -> None:
    await fs.mkdir("a")
    await fs.mkdir("b")
    await fs.put("a/one", b"first")
    if saved:
        await fs.save()
        fs.drop_caches()
    await fs.link("a/one", "b/two")
    await fs.link("a/one", "three")
    assert (await fs.stat("a/one")).nlink == 3
    await fs.write("b/two", 0, b"FIRST")
    assert await fs.read("three") == b"FIRST"
    await same_after_save(fs, store, tmp_path)
    other = await remount(fs, store, tmp_path)
    stats = [await other.stat(path) for path in ("a/one", "b/two", "three")]
    assert len({s.ino for s in stats}) == 1
    assert [s.nlink for s in stats] == [3, 3, 3]
    other.drop_caches()
    await other.write("three", 5, b"!")
    other.drop_caches()
    assert await other.read("a/one") == b"FIRST!"
    await other.unlink("a/one")
    await other.unlink("b/two")
    await same_after_save(other, store, tmp_path)
    assert (await other.stat("three")).nlink == 1
    await other.rename("three", "a/three")
    await same_after_save(other, store, tmp_path)
    await other.unlink("a/three")
    await same_after_save(other, store, tmp_path)
    assert other.fs.overlay.snapshot.links is None
    other.close()


async def test_a_link_made_and_removed_leaves_a_plain_file(
    fs: Driver, store: MemoryStore, tmp_path: Path
) -> None:
    await fs.put("tmp", b"object")
    await fs.link("tmp", "final")
    await fs.unlink("tmp")
    await same_after_save(fs, store, tmp_path)
    assert fs.fs.overlay.snapshot.links is None
    await fs.write("final", 0, b"O")
    await same_after_save(fs, store, tmp_path)


@pytest.mark.parametrize("size", [10, 3 * UNIT])
@pytest.mark.parametrize("saved", [False, True])
async def test_unlinked_files_live_until_they_are_forgotten(
    fs: Driver, store: MemoryStore, size: int, saved: bool
) -> None:
    ino = await fs.put("f", b"x" * size)
    if saved:
        await fs.save()
    await fs.unlink("f")
    await fs.create("f")
    assert (await fs.fs.getattr(ino, ME)).nlink == 0
    await fs.fs.write(ino, 0, 1, b"y")
    await fs.save()
    await fs.fs.write(ino, 0, 2, b"z")
    assert b"".join(await fs.fs.read(ino, 0, 0, 4)) == b"xyzx"
    assert (await fs.stat("f")).size == 0
    fs.drop_caches()
    await fails(errno.ESTALE, fs.fs.getattr(ino, ME))
    scratch = fs.fs.overlay.scratch
    scratch.commit()
    assert scratch.inode(ino) is None
    assert scratch.files.numbers() == []


async def test_a_file_without_a_name_can_be_given_one(fs: Driver) -> None:
    _, found = await fs.fs.tmpfile(ROOT, 0o600, os.O_RDWR, ME)
    await fs.fs.write(found.ino, 0, 0, b"hidden")
    await fs.save()
    assert await fs.names("") == []
    await fs.fs.link(found.ino, ROOT, b"named", ME)
    fs.fs.forget(found.ino, 2)
    assert await fs.read("named") == b"hidden"
    assert (await fs.stat("named")).nlink == 1
    _, gone = await fs.fs.tmpfile(ROOT, 0o600, os.O_RDWR, ME)
    fs.fs.forget(gone.ino, 1)
    assert fs.fs.overlay.record(gone.ino) is None


async def test_posix_details_of_new_files(fs: Driver) -> None:
    user = Caller(uid=1000, gid=100)
    await fs.mkdir("set", 0o2775)
    await fs.fs.setattr(await fs.ino("set"), Changes(gid=50), 0, ME)
    await fs.create("set/file", 0o644, user)
    await fs.mkdir("set/dir", 0o755, user)
    file, folder = await fs.stat("set/file"), await fs.stat("set/dir")
    assert (file.uid, file.gid) == (1000, 50)
    assert folder.mode == stat.S_IFDIR | 0o2755
    assert folder.gid == 50
    assert (await fs.stat("set")).nlink == 3
    await fs.rmdir("set/dir")
    assert (await fs.stat("set")).nlink == 2
    await fs.fs.setattr(file.ino, Changes(mode=0o6755), 0, user)
    await fs.fs.setattr(file.ino, Changes(gid=100), 0, user)
    assert (await fs.stat("set/file")).mode == stat.S_IFREG | 0o755
    before = await fs.stat("set")
    await fs.create("set/more")
    after = await fs.stat("set")
    assert after.mtime_ns > before.mtime_ns
    assert after.ctime_ns == after.mtime_ns
    old = await fs.stat("set/more")
    await fs.link("set/more", "set/again")
    new = await fs.stat("set/more")
    assert (new.mtime_ns, new.nlink) == (old.mtime_ns, 2)
    assert new.ctime_ns > old.ctime_ns


async def test_a_removed_directory_takes_no_names(fs: Driver) -> None:
    ino = await fs.mkdir("d")
    await fs.rmdir("d")
    await fails(errno.ENOENT, fs.fs.create(ino, b"x", 0o644, 0, ME))
    assert list(await fs.fs.readdir(ino, 0, 0, ME)) == []
    assert (await fs.fs.getattr(ino, ME)).nlink == 0


async def test_xattrs(fs: Driver, store: MemoryStore, tmp_path: Path) -> None:
    ino = await fs.put("f", b"")
    await fails(errno.ENODATA, fs.fs.getxattr(ino, b"user.a", ME))
    await fails(errno.ENODATA, fs.fs.setxattr(ino, b"user.a", b"", 2, ME))
    await fails(errno.ENODATA, fs.fs.removexattr(ino, b"user.a", ME))
    for n in range(300):
        await fs.fs.setxattr(ino, b"user.%03d" % n, b"v" * n, 1, ME)
    await fails(errno.EEXIST, fs.fs.setxattr(ino, b"user.007", b"", 1, ME))
    await fails(errno.E2BIG, fs.fs.setxattr(ino, b"user.a", bytes(65537), 0, ME))
    await same_after_save(fs, store, tmp_path)
    ino = await fs.ino("f")
    assert len(await fs.fs.listxattr(ino, ME)) == 300
    await fs.fs.removexattr(ino, b"user.200", ME)
    await fs.fs.setxattr(ino, b"user.100", b"new", 2, ME)
    assert await fs.fs.getxattr(ino, b"user.299", ME) == b"v" * 299
    await same_after_save(fs, store, tmp_path)
    ino = await fs.ino("f")
    assert len(await fs.fs.listxattr(ino, ME)) == 299
    assert await fs.fs.getxattr(ino, b"user.100", ME) == b"new"


async def test_xattrs_stay_below_what_a_save_can_keep(
    fs: Driver, store: MemoryStore, tmp_path: Path
) -> None:
    ino = await fs.put("f", b"")
    for n in range(63):
        await fs.fs.setxattr(ino, b"user.%d" % n, bytes(65536), 0, ME)
    await fails(errno.ENOSPC, fs.fs.setxattr(ino, b"user.63", bytes(65536), 0, ME))
    await fs.fs.setxattr(ino, b"user.0", bytes(65536), 0, ME)
    await fs.fs.setxattr(ino, b"user.0", b"", 0, ME)
    await fs.fs.setxattr(ino, b"user.63", bytes(65535), 0, ME)
    await fs.fs.removexattr(ino, b"user.1", ME)
    await same_after_save(fs, store, tmp_path)
    ino = await fs.ino("f")
    await fs.fs.setxattr(ino, b"user.1", bytes(65536), 0, ME)
    await fails(errno.ENOSPC, fs.fs.setxattr(ino, b"user.0", bytes(65536), 0, ME))


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


async def test_acls_and_modes_agree(fs: Driver) -> None:
    none = 0xFFFFFFFF
    await fs.mkdir("d")
    ino = await fs.put("d/f", b"")
    value = acl((1, 6, none), (2, 7, 1000), (4, 4, none), (16, 7, none), (32, 0, none))
    await fs.fs.setxattr(ino, b"system.posix_acl_access", value, 0, ME)
    assert (await fs.stat("d/f")).mode & 0o777 == 0o670
    await fs.fs.setattr(ino, Changes(mode=0o640), 0, ME)
    expected = acl((1, 6, none), (2, 7, 1000), (4, 4, none), (16, 4, none), (32, 0, none))
    assert await fs.fs.getxattr(ino, b"system.posix_acl_access", ME) == expected
    plain = acl((1, 7, none), (4, 5, none), (32, 1, none))
    await fs.fs.setxattr(ino, b"system.posix_acl_access", plain, 0, ME)
    assert (await fs.stat("d/f")).mode & 0o777 == 0o751
    await fails(errno.ENODATA, fs.fs.getxattr(ino, b"system.posix_acl_access", ME))
    await fs.fs.setxattr(await fs.ino("d"), b"system.posix_acl_default", value, 0, ME)
    await fs.mkdir("d/sub", 0o755)
    sub = await fs.ino("d/sub")
    assert await fs.fs.getxattr(sub, b"system.posix_acl_default", ME) == value
    assert (await fs.stat("d/sub")).mode & 0o777 == 0o650
    await fails(errno.EINVAL, fs.fs.setxattr(ino, b"system.posix_acl_access", b"junk", 0, ME))


async def test_listings_go_on_while_names_come_go_and_are_saved(fs: Driver) -> None:
    ino = await fs.mkdir("d")
    for n in range(300):
        await fs.create(f"d/{n:03}")
    await fs.save()
    for n in range(1000, 1300):
        await fs.create(f"d/{n:03}")
    found: list[bytes] = []
    offset = 0
    rounds = 0
    removed = b""
    while True:
        batch = []
        for entry in await fs.fs.readdir(ino, 0, offset, ME):
            batch.append(entry)
            if len(batch) == 7:
                break
        if not batch:
            break
        found += [entry.name for entry in batch]
        offset = batch[-1].offset
        rounds += 1
        if rounds == 20:
            await fs.save()
        if rounds == 30:
            removed = found[-1]
            await fs.unlink(f"d/{removed.decode()}")
        if rounds == 40:
            fs.fs._listings._places.clear()
    assert len(found) == len(set(found)) == 600
    assert found == sorted(found)
    assert await fs.names("d") == sorted(n.decode() for n in set(found) - {removed})
    await fails(errno.EINVAL, fs.fs.readdir(ino, 0, cookie_of(b"never"), ME))


async def test_large_directories_of_old_and_new_names(fs: Driver) -> None:
    await fs.mkdir("d")
    expected = {f"{n:05}" for n in range(0, 6000, 3)}
    for name in sorted(expected):
        await fs.create(f"d/{name}")
    await fs.save()
    fs.drop_caches()
    assert await fs.names("d") == sorted(expected)
    new = {f"{n:05}" for n in range(1, 9000, 2)}
    for name in sorted(new - expected):
        await fs.create(f"d/{name}")
    for name in list(expected)[::5]:
        await fs.unlink(f"d/{name}")
        expected.remove(name)
    gone = expected - set(await fs.names("d"))
    assert not gone
    fs.drop_caches()
    listed = await fs.names("d")
    assert listed == sorted(set(listed))
    assert set(listed) >= expected
    assert len(listed) == len(expected | (new & set(listed)))
