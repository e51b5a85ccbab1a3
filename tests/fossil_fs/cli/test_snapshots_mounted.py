"""Snapshots on real mounts: made by word and by echo, read by anybody who may, there after a kill."""

import errno
import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib9.errors import Exit
from tests.fossil_fs.cli.mounts import Machine, machine_at

pytestmark = [pytest.mark.fuse, pytest.mark.root]
UNIT = 64 << 10


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    with machine_at(home) as made:
        yield made


def snap(machine: Machine, point: Path, *words: str) -> Path:
    said = machine.run("fossil-con", point, "snap", *words).stdout.strip()
    assert re.fullmatch(r"snapshot/\d{4}/\d{4}/\d{4}(\.\d+)?", said)
    return point / ".fossilfs" / said


def contents(point: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(point)): (path.lstat().st_mode, path.read_bytes())
        for path in point.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("engine", ["shim", "stock"])
@pytest.mark.parametrize("options", [[], ["--writeback"]])
def test_yesterdays_version(machine: Machine, engine: str, options: list[str]) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point, *options, env={"SPAWNGRID_ENGINE": engine})
    (point / "d").mkdir()
    (point / "d/small").write_text("old")
    (point / "d/large").write_bytes(b"L" * 5 * UNIT)
    os.symlink("small", point / "d/link")
    before = contents(point)
    past = snap(machine, point)
    (point / "d/small").write_text("newer")
    with open(point / "d/large", "r+b") as file:
        file.seek(UNIT + 5)
        file.write(b"new")
    (point / "d/link").unlink()
    (point / "d").rename(point / "e")
    again = snap(machine, point)
    assert again.name.startswith(past.name[:4])
    assert again != past
    assert contents(past) == before
    assert os.readlink(past / "d/link") == "small"
    assert contents(again) == contents(point)
    subprocess.run(["cp", "-a", str(past / "d/large"), str(point / "restored")], check=True)
    assert (point / "restored").read_bytes() == b"L" * 5 * UNIT
    assert os.listdir(point) == ["e", "restored"] or sorted(os.listdir(point)) == ["e", "restored"]
    score = machine.save(point)
    assert contents(past) == before
    machine.run("fossil-umount", point)
    elsewhere = machine.point("elsewhere")
    machine.mount(score, elsewhere)
    assert sorted(os.listdir(elsewhere)) == ["e", "restored"], "no score holds snapshots"


@pytest.mark.parametrize("engine", ["shim", "stock"])
def test_nothing_of_the_past_can_be_changed(machine: Machine, engine: str) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point, env={"SPAWNGRID_ENGINE": engine})
    (point / "f").write_text("old")
    (point / "d").mkdir()
    past = snap(machine, point)

    def append() -> None:
        with open(past / "f", "ab", buffering=0) as file:
            file.write(b"x")

    attempts = [
        append,
        lambda: (past / "f").write_text("x"),
        lambda: os.truncate(past / "f", 0),
        lambda: (past / "new").touch(),
        lambda: (past / "f").unlink(),
        lambda: (past / "d").rmdir(),
        lambda: (past / "e").mkdir(),
        lambda: os.rename(past / "f", past / "g"),
        lambda: os.link(past / "f", past / "g"),
        lambda: os.symlink("x", past / "g"),
        lambda: os.chmod(past / "f", 0o600),
        lambda: os.utime(past / "f", (1, 1)),
        lambda: os.setxattr(past / "f", "user.a", b"1"),
        lambda: (past.parent / "new").touch(),
        lambda: past.rmdir(),
    ]
    for attempt in attempts:
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno == errno.EROFS
    with pytest.raises(OSError) as refused:
        os.rename(past / "f", point / "g")
    assert refused.value.errno in (errno.EXDEV, errno.EROFS)
    assert (past / "f").read_text() == "old"


def test_an_ordinary_user_sees_what_the_modes_let_them(machine: Machine, home: Path) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point, "--allow-other")
    user = pwd.getpwnam("nobody")
    for path in (home, *home.parents):
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o005:
            path.chmod(path.stat().st_mode | 0o055)
    (point / "theirs").write_text("yesterday")
    os.chown(point / "theirs", user.pw_uid, user.pw_gid)
    os.chmod(point / "theirs", 0o600)
    (point / "secret").write_text("root's")
    os.chmod(point / "secret", 0o600)
    past = snap(machine, point)
    (point / "theirs").write_text("today")
    os.chmod(point / "secret", 0o644)
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    done = subprocess.run(
        ["cat", str(past / "theirs")], capture_output=True, check=False, **as_user
    )
    assert (done.returncode, done.stdout) == (0, b"yesterday"), done.stderr
    done = subprocess.run(
        ["cat", str(past / "secret")], capture_output=True, check=False, **as_user
    )
    assert done.returncode == 1
    assert b"Permission denied" in done.stderr


def test_snapshots_outlive_a_save_an_unmount_and_a_kill(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    (point / "f").write_text("1")
    first = snap(machine, point)
    (point / "f").write_text("2")
    machine.run("fossil-con", point, "snaptime", "-s", "1440", "-t", "2880", "-a", "none")
    machine.kill(point)
    (scratch,) = machine.scratches()
    machine.run("fossil-scratch", "resume", scratch, point)
    assert (first / "f").read_text() == "1"
    said = machine.run("fossil-con", point, "snaptime").stdout
    assert said == "snaptime -a none -s 1440 -t 2880\n"
    machine.save(point)
    done = machine.run("fossil-umount", point)
    assert "1 snapshot" in done.stderr
    machine.run("fossil-scratch", "resume", scratch, point)
    assert (first / "f").read_text() == "1"
    assert (point / "f").read_text() == "2"
    assert machine.run("fossil-con", point, "check").stdout.endswith("all agree\n")
    assert machine.run("fossil-con", point, "snapclean", "0").stdout.startswith("snapshot/")
    assert os.listdir(point / ".fossilfs/snapshot") == []
    with pytest.raises(OSError):
        (first / "f").read_text()
    machine.run("fossil-umount", point)
    assert machine.scratches() == []


def test_archival_snapshots(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    scores = []
    for turn in ("1", "2"):
        (point / "f").write_text(turn)
        scores.append(machine.run("fossil-con", point, "snap", "-a").stdout.strip())
    archive = point / ".fossilfs/archive"
    (year,) = {name for name in os.listdir(archive) if name != "1970"}
    days = sorted(os.listdir(archive / year))
    assert [(archive / year / day / "f").read_text() for day in days] == ["1", "2"]
    assert days[1] == f"{days[0]}.1"
    (point / "f").write_text("3")
    with pytest.raises(OSError) as refused:
        (archive / year / days[0] / "f").write_text("x")
    assert refused.value.errno == errno.EROFS
    machine.run("fossil-umount", point, "--discard")
    machine.mount(scores[1], point)
    assert sorted(os.listdir(archive / year)) == days, "a root knows those before it"
    log = machine.run("fossil-log", scores[1], "-q").stdout
    assert log.splitlines()[0].startswith(f"{scores[1]} {year}-")


def test_a_script_does_it_with_echo(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    (point / "f").write_text("old")
    script = (
        "echo snap >.fossilfs/ctl; s=$(cat .fossilfs/ctl); echo new >f; cat .fossilfs/$s/f; "
        "echo 'snaptime -s 60 -a 0500 -t 2880' >.fossilfs/ctl; echo snaptime >.fossilfs/ctl; "
        "cat .fossilfs/ctl; echo snapclean 0 >.fossilfs/ctl; cat .fossilfs/ctl"
    )
    said = subprocess.run(
        ["sh", "-c", script], cwd=point, capture_output=True, text=True, check=True
    )
    old, snaptime = said.stdout[:3], said.stdout[3:].splitlines()
    assert old == "old"
    assert snaptime[0] == "snaptime -a 0500 -s 60 -t 2880"
    assert snaptime[1].startswith("snapshot/")


@pytest.mark.parametrize(
    "words",
    [("snap", "x"), ("snaptime", "-s"), ("snaptime", "-s", "0"), ("snaptime", "-a", "2460"),
     ("snapclean",), ("snapclean", "x"), ("snapclean", "1", "2")],
)  # fmt: skip
def test_nonsense_is_refused(machine: Machine, words: tuple[str, ...]) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    done = machine.run("fossil-con", point, *words, status=Exit.USAGE)
    assert done.stderr.startswith(f"fossil-con: {words[0]}: ")
    assert done.stderr.count("\n") == 1
