"""The check of a mount: silent on every good state, and naming what was broken on purpose."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fossil_fs.overlay.check import Check
from fossil_fs.scratch import records
from fossil_fs.scratch.journal import delete, put
from fossil_fs.scratch.records import Inode, Layer, pack_inode
from fossil_fs.scratch.scratch import Scratch
from fossil_fs.scratch.snapshots import Snapshots
from tests.fossil_fs.drive import ROOT, Driver, empty_root, new_scratch, remount
from venti_store.interfaces import Block
from venti_store.kind import Kind
from venti_store.score import Score
from venti_store.stores.memory import MemoryStore


async def findings(fs: Driver, *, blocks: bool = True) -> list[str]:
    return [line async for line in Check(fs.fs.overlay, blocks=blocks).run()]


async def fill(fs: Driver) -> None:
    await fs.mkdir("dir")
    await fs.mkdir("dir/below")
    await fs.put("dir/small", b"small")
    await fs.put("dir/below/large", os.urandom(200_000))
    await fs.symlink("link", b"dir/small")
    await fs.link("dir/small", "other")
    await fs.fs.setxattr(await fs.ino("dir/small"), b"user.a", b"b", 0, None)  # type: ignore[arg-type]


async def test_good_states_have_no_findings(fs: Driver, store: MemoryStore, tmp_path: Path) -> None:
    assert await findings(fs) == []
    await fill(fs)
    assert await findings(fs) == []
    other = await remount(fs, store, tmp_path)
    assert await findings(fs) == []
    await other.unlink("other")
    await other.write("dir/below/large", 100_000, b"changed")
    await other.truncate("dir/below/large", 150_000)
    await other.rename("dir/below", "moved")
    ino = await other.ino("link")
    await other.unlink("link")
    assert (await other.fs.getattr(ino, None)).nlink == 0  # type: ignore[arg-type]
    check = Check(other.fs.overlay, blocks=True)
    assert [line async for line in check.run()] == []
    assert check.blocks > 3
    assert check.inodes >= 4
    await other.save()
    assert await findings(other) == []
    other.drop_caches()
    assert await findings(other) == []
    other.close()


def inode(scratch: Scratch, ino: int) -> Inode:
    found = scratch.inode(ino)
    assert found is not None
    return found


def change(scratch: Scratch, ino: int, **fields: object) -> None:
    scratch.apply([put(records.inode_key(ino), pack_inode(inode(scratch, ino)._replace(**fields)))])  # type: ignore[arg-type]


def dangling(scratch: Scratch, inos: dict[str, int]) -> None:
    scratch.apply([put(records.name_key(ROOT, b"x"), records.pack_number(12345))])


def nowhere(scratch: Scratch, inos: dict[str, int]) -> None:
    scratch.apply([put(records.name_key(12345, b"x"), records.pack_number(0))])


def cut_off(scratch: Scratch, inos: dict[str, int]) -> None:
    """A directory that holds itself: nothing leads to it from the root."""
    scratch.apply(
        [
            delete(records.name_key(ROOT, b"dir")),
            put(records.name_key(inos["dir/below"], b"up"), records.pack_number(inos["dir"])),
        ]
    )


def wrong_count(scratch: Scratch, inos: dict[str, int]) -> None:
    change(scratch, inos["dir/below/large"], nlink=3)


def no_layer(scratch: Scratch, inos: dict[str, int]) -> None:
    change(scratch, inos["dir/below/large"], layers=(Layer(9999, 0),))


def shared_layer(scratch: Scratch, inos: dict[str, int]) -> None:
    layers = inode(scratch, inos["dir/below/large"]).layers
    change(scratch, inos["dir/small"], layers=layers, size=300_000, flags=records.XATTRS_HERE)


def too_long(scratch: Scratch, inos: dict[str, int]) -> None:
    change(scratch, inos["dir/below/large"], size=1000)


def two_contents(scratch: Scratch, inos: dict[str, int]) -> None:
    change(scratch, inos["dir/small"], size=3)


def stray_bytes(scratch: Scratch, inos: dict[str, int]) -> None:
    scratch.apply([put(records.content_key(12345), b"x")])


def stray_xattr(scratch: Scratch, inos: dict[str, int]) -> None:
    scratch.apply([put(records.xattr_key(12345, b"user.x"), b"x")])


def nameless(scratch: Scratch, inos: dict[str, int]) -> None:
    change(scratch, inos["dir/below/large"], nlink=0)
    scratch.apply([delete(records.name_key(inos["dir/below"], b"large"))])


def garbage(scratch: Scratch, inos: dict[str, int]) -> None:
    scratch.apply([put(records.inode_key(77), b"short")])


def strange_layer(scratch: Scratch, inos: dict[str, int]) -> None:
    Path(os.fsdecode(scratch.directory), "data", "4711").write_bytes(b"x")


def bad_entry(scratch: Scratch, inos: dict[str, int]) -> None:
    change(scratch, inos["dir/below/large"], content=b"\xff" * 52)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (dangling, "names"),
        (nowhere, "names"),
        (cut_off, "chain"),
        (wrong_count, "links"),
        (no_layer, "layers"),
        (shared_layer, "layers"),
        (too_long, "size"),
        (two_contents, "inline"),
        (stray_bytes, "inline"),
        (stray_xattr, "xattrs"),
        (nameless, "orphans"),
        (garbage, "records"),
        (strange_layer, "space"),
        (bad_entry, "entries"),
    ],
)
async def test_what_was_broken_is_named(
    store: MemoryStore,
    tmp_path: Path,
    damage: Callable[[Scratch, dict[str, int]], None],
    name: str,
) -> None:
    fs = await Driver.open(store, new_scratch(tmp_path, store, await empty_root(store)))
    await fill(fs)
    inos = {p: await fs.ino(p) for p in ("dir", "dir/below", "dir/small", "dir/below/large")}
    fs.drop_caches()
    damage(fs.fs.overlay.scratch, inos)
    found = await findings(fs)
    assert found
    assert name in {line.partition(":")[0] for line in found}, found
    fs.kill()


async def test_the_table_is_checked(fs: Driver) -> None:
    await fill(fs)
    known = fs.fs.overlay.table.get(await fs.ino("dir"))
    assert known is not None
    known.pins += 1
    assert [line.partition(":")[0] for line in await findings(fs)] == ["table"]
    known.pins -= 1


class Lossy(MemoryStore):
    """Has not what is in `lost`."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[Score] = set()

    async def have_many(self, keys):  # type: ignore[no-untyped-def]
        return [
            here and key.score not in self.lost
            for key, here in zip(keys, await super().have_many(keys), strict=True)
        ]


async def test_missing_blocks_are_named(tmp_path: Path) -> None:
    store = Lossy()
    fs = await Driver.open(store, new_scratch(tmp_path, store, await empty_root(store)))
    await fill(fs)
    await fs.save()
    await fs.write("dir/below/large", 5, b"x")
    content = fs.fs.overlay.unpack(
        inode(fs.fs.overlay.scratch, await fs.ino("dir/below/large")).content
    )
    assert content is not None
    store.lost = {content.score}
    assert {line.partition(":")[0] for line in await findings(fs, blocks=False)} == {"entries"}
    fs.close()


async def test_a_base_that_is_gone_is_told(store: MemoryStore, tmp_path: Path) -> None:
    fs = await Driver.open(store, new_scratch(tmp_path, store, await empty_root(store)))
    await fill(fs)
    empty = MemoryStore()
    await empty.put_many([Block(empty.family.score(b"x"), Kind.DATA, b"x")])
    fs.fs.overlay.base.store = empty
    assert {line.partition(":")[0] for line in await findings(fs)} == {"base", "blocks"}
    assert stat.S_ISDIR((await fs.stat("dir")).mode)
    fs.kill()


async def test_layers_of_snapshots_are_checked(store: MemoryStore, tmp_path: Path) -> None:
    fs = await Driver.open(store, new_scratch(tmp_path, store, await empty_root(store)))
    await fill(fs)
    scratch = fs.fs.overlay.scratch
    Snapshots(scratch).take(1, b"2026/0101/0000")
    await fs.write("dir/below/large", 0, b"later")
    await fs.save()
    assert await findings(fs) == []
    seen = next(inode for _, inode in scratch.past_inodes() if inode.layers)
    number = seen.layers[0].number
    os.unlink(os.path.join(scratch.directory, b"data", b"%d" % number))
    scratch.files._account(number, 0)
    scratch.files._sizes.pop(number)
    assert {line.partition(":")[0] for line in await findings(fs)} == {"layers"}
    fs.kill()
