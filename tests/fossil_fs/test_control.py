"""The control directory without a kernel: items, their numbers, and how they join a tree."""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from fossil_fs.control.item import Folder, Item, Text
from fossil_fs.control.joined import Joined
from fossil_fs.control.tree import TRANSIENT_MAX, ControlTree
from fossil_fs.mounting.control import control_directory, fill
from fossil_fs.scratch.records import INODE_END
from lib9.errors import UsageError
from lib9.fuse.interface import Attributes, Changes
from tests.fossil_fs.drive import ME, ROOT, Driver, fails

NAME = b".fossilfs"


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    async def __call__(self, line: str) -> Sequence[str]:
        self.lines.append(line)
        if line == "bad":
            raise UsageError("bad: no")
        return [f"did {line}"]


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def control(said: Said) -> ControlTree:
    folder = control_directory()
    count = iter(range(100))
    fill(folder, said, {"same": lambda: ["a"], "new": lambda: [str(next(count))]})
    return ControlTree(folder)


async def content(fs: Joined | ControlTree, ino: int) -> bytes:
    parts = await fs.read(ino, 0, 0, 1 << 20)
    assert not isinstance(parts, bytes | bytearray | memoryview)
    data = b"".join(parts)
    assert len(data) == (await fs.getattr(ino, ME)).size
    return data


async def test_what_is_looked_up_stays_as_it_is(control: ControlTree) -> None:
    top = control.top().ino
    assert top == INODE_END
    one = await control.lookup(top, b"new", ME)
    two = await control.lookup(top, b"new", ME)
    assert one.ino != two.ino
    assert await content(control, one.ino) == b"0\n"
    assert await content(control, two.ino) == b"1\n"
    same = await control.lookup(top, b"same", ME)
    assert same.ino == (await control.lookup(top, b"same", ME)).ino
    assert same.keep_seconds == 0


async def test_numbers_go_when_the_kernel_forgets(control: ControlTree) -> None:
    top = control.top().ino
    for _ in range(3):
        found = await control.lookup(top, b"same", ME)
    control.forget(found.ino, 2)
    assert await content(control, found.ino) == b"a\n"
    control.forget(found.ino, 1)
    await fails(errno.ESTALE, control.getattr(found.ino, ME))
    control.forget(top, 5)
    assert len(control) == 1
    assert (await control.getattr(top, ME)).ino == top


async def test_listings_that_nobody_takes_are_bounded() -> None:
    class Endless(Folder):
        async def entries(self, offset: int) -> list[tuple[bytes, Item, int]]:
            return [(b"%d" % n, Text(n, b"", Attributes(0, stat.S_IFREG)), n) for n in range(1, 9)]

    about = Attributes(0, stat.S_IFDIR)
    tree = ControlTree(Endless("top", about))
    top = tree.top().ino
    for turn in range(TRANSIENT_MAX):
        for listed in await tree.readdir(top, 0, 0, ME):
            if turn == 0 and listed.name == b"3":
                tree.listed(listed.attributes.ino)
                kept = listed.attributes.ino
        assert len(tree) < 2 * TRANSIENT_MAX
    assert (await tree.getattr(kept, ME)).ino == kept


async def test_a_listing_goes_on_where_it_was(control: ControlTree) -> None:
    top = control.top().ino
    found = [(item.name, item.offset) for item in await control.readdir(top, 0, 0, ME)]
    assert [name for name, _ in found] == [b"ctl", b"new", b"same"]
    rest = [item.name for item in await control.readdir(top, 0, found[0][1], ME)]
    assert rest == [b"new", b"same"]


async def test_commands_and_what_they_answer(control: ControlTree, said: Said) -> None:
    top = control.top().ino
    ctl = (await control.lookup(top, b"ctl", ME)).ino
    assert await content(control, ctl) == b""
    await control.setattr(ctl, Changes(size=0), 0, ME)
    assert await control.write(ctl, 0, 0, b"one two\nthree\n") == 14
    assert said.lines == ["one two", "three"]
    assert await content(control, ctl) == b"did one two\ndid three\n"
    after = await control.lookup(top, b"ctl", ME)
    assert after.ino != ctl
    assert await content(control, after.ino) == b"did one two\ndid three\n"
    await fails(errno.EINVAL, control.write(after.ino, 0, 0, b"four\nbad\nfive\n"))
    assert said.lines[-1] == "bad"
    last = await control.lookup(top, b"ctl", ME)
    assert await content(control, last.ino) == b"did four\nerror: bad: no\n"
    await fails(errno.EMSGSIZE, control.write(last.ino, 0, 0, bytes(65537)))


async def test_nothing_else_can_be_changed(control: ControlTree) -> None:
    top = control.top().ino
    same = (await control.lookup(top, b"same", ME)).ino
    await fails(errno.EPERM, control.write(same, 0, 0, b"x"))
    await fails(errno.EPERM, control.setattr(same, Changes(size=0), 0, ME))
    await fails(errno.EPERM, control.setattr(same, Changes(mode=0o777), 0, ME))
    await fails(errno.EPERM, control.mkdir(top, b"x", 0o755, ME))
    await fails(errno.EPERM, control.unlink(top, b"same", ME))
    await fails(errno.ENOENT, control.lookup(top, b"x", ME))
    await fails(errno.ENOTDIR, control.lookup(same, b"x", ME))
    assert await control.lseek(same, 0, 1, os.SEEK_HOLE) == 2
    await fails(errno.ENXIO, control.lseek(same, 0, 2, os.SEEK_DATA))


async def test_a_real_entry_of_that_name_wins(fs: Driver, control: ControlTree) -> None:
    joined = Joined(fs.fs, control, NAME)
    assert (await joined.lookup(ROOT, NAME, ME)).ino == INODE_END
    assert [e.name for e in await joined.readdir(ROOT, 0, 0, ME)] == []
    await fails(errno.EPERM, joined.rmdir(ROOT, NAME, ME))
    await fails(errno.EPERM, joined.rename(ROOT, NAME, ROOT, b"x", 0, ME))
    await fails(errno.ENOENT, joined.rmdir(ROOT, b"other", ME))
    ino = await fs.put("file", b"text")
    await fails(errno.EXDEV, joined.rename(ROOT, b"file", INODE_END, b"x", 0, ME))
    await fails(errno.EXDEV, joined.link(ino, INODE_END, b"x", ME))
    await fails(errno.EXDEV, joined.copy_file_range(INODE_END, 0, ino, 0, 4))
    await joined.rename(ROOT, b"file", ROOT, NAME, 0, ME)
    assert fs._count(await joined.lookup(ROOT, NAME, ME)).ino == ino
    assert await content(joined, ino) == b"text"
    assert [e.name for e in await joined.readdir(ROOT, 0, 0, ME)] == [NAME]


async def test_no_inode_of_the_tree_has_a_number_of_the_control_directory(
    fs: Driver, tmp_path: Path
) -> None:
    await fs.put("file", b"")
    overlay = fs.fs.overlay
    node = overlay.snapshot.root
    assert not overlay._is_free(INODE_END, (ROOT, b"x"), node)  # type: ignore[arg-type]
    assert overlay._is_free(INODE_END - 1, (ROOT, b"x"), node)  # type: ignore[arg-type]
