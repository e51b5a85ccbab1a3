"""fossil-mount, -save, -umount and -scratch as real processes on real mounts."""

import ctypes
import errno
import json
import mmap
import os
import re
import signal
import socket
import stat
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fossil_fs.mounting.registry import is_alive
from fossil_fs.scratch.errors import ScratchInUse
from fossil_fs.scratch.place import lock_place
from lib9.errors import Exit
from lib9.sockets import socket_path
from tests.fossil_fs.cli.mounts import SECONDS_MAX, Machine, machine_at, wait_until

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    with machine_at(home) as made:
        yield made


def test_write_save_mount_elsewhere(machine: Machine) -> None:
    one, two = machine.point("one"), machine.point("two")
    machine.mount(machine.root, one)
    (one / "dir").mkdir()
    (one / "dir/file").write_text("text")
    os.link(one / "dir/file", one / "linked")
    (one / "large").write_bytes(os.urandom(300_000))
    score = machine.save(one)
    assert score.startswith("vac:")
    assert machine.save(one) == score
    machine.mount(score, two)
    subprocess.run(["diff", "-r", one, two], check=True)
    (two / "linked").write_text("changed there")
    assert (two / "dir/file").read_text() == "changed there"
    assert (one / "linked").read_text() == "text"
    machine.run("fossil-umount", one)
    machine.run("fossil-umount", two, "--discard")
    assert machine.scratches() == []
    assert list((machine.home / "run/spawngrid/mounts").glob("*.ndb")) == []


def test_umount_says_that_another_namespace_has_the_mount(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    daemon = machine.pid(point)
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo made; read _"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"made\n"
        told = machine.run("fossil-umount", point, "--discard", status=Exit.MOUNT)
        assert "another mount namespace" in told.stderr
        assert is_alive(daemon)
        other.communicate()
    wait_until(lambda: not is_alive(daemon), 60)
    assert machine.scratches() == []


def test_umount_refuses_to_lose_work(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    (point / "work").write_text("unsaved")
    refused = machine.run("fossil-umount", point, status=Exit.UNSAVED)
    assert "unsaved changes" in refused.stderr
    assert refused.stderr.count("\n") == 1
    with open(point / "work"):
        busy = machine.run("fossil-umount", point, "--discard", status=Exit.MOUNT)
        assert "in use" in busy.stderr
    assert (point / "work").read_text() == "unsaved"
    score = machine.run("fossil-umount", point, "--save").stdout.strip()
    machine.mount(score, point)
    assert (point / "work").read_text() == "unsaved"
    machine.run("fossil-umount", point)


@pytest.mark.parametrize("how", ["umount", "SIGTERM", "kill"])
def test_whatever_ends_a_mount_its_scratch_can_be_resumed(machine: Machine, how: str) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    (point / "small").write_text("small")
    (point / "large").write_bytes(b"x" * 200_000)
    if how == "umount":
        subprocess.run(["umount", point], check=True)
    elif how == "SIGTERM":
        os.kill(machine.pid(point), signal.SIGTERM)
    else:
        machine.kill(point)
    wait_until(lambda: not os.path.ismount(point))
    (found,) = machine.run("fossil-scratch", "ls", "--json").stdout.splitlines()
    wait_until(lambda: json.loads(found)["score"] == machine.root)
    scratch = json.loads(found)["id"]
    wait_until(lambda: _resumes(machine, scratch, point))
    assert (point / "small").read_text() == "small"
    assert (point / "large").read_bytes() == b"x" * 200_000
    machine.run("fossil-scratch", "save", scratch, status=Exit.MOUNT)
    subprocess.run(["umount", point], check=True)
    wait_until(lambda: not list((machine.home / "run/spawngrid/mounts").glob("*.ndb")))
    machine.run("fossil-scratch", "rm", scratch, status=Exit.UNSAVED)
    score = machine.run("fossil-scratch", "save", scratch[:5]).stdout.strip()
    assert machine.scratches() == []
    machine.mount(score, point)
    assert (point / "small").read_text() == "small"


def test_a_scratch_that_is_still_being_closed_is_waited_for(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    (point / "small").write_text("small")
    machine.kill(point)
    (place,) = machine.scratches()
    held = -1

    def is_locked() -> bool:  # threads of what was killed may end a moment later
        nonlocal held
        with suppress(ScratchInUse):
            held = lock_place(os.fsencode(place))
        return held >= 0

    wait_until(is_locked)
    program = Path(sysconfig.get_path("scripts")) / "fossil-scratch"
    with subprocess.Popen([program, "save", place.name], stdout=subprocess.PIPE) as saving:
        asleep = Path(f"/proc/{saving.pid}/wchan")
        wait_until(lambda: "nanosleep" in asleep.read_text())
        assert saving.poll() is None
        os.close(held)
        assert saving.wait(30) == 0
    assert machine.scratches() == []


def _resumes(machine: Machine, scratch: str, point: Path) -> bool:
    program = Path(sysconfig.get_path("scripts")) / "fossil-scratch"
    done = subprocess.run([program, "resume", scratch, point], check=False, capture_output=True)
    return done.returncode == 0


def test_a_dead_mount_is_cleaned_with_a_word(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    pid = machine.pid(point)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: _stat_errno(point) == errno.ENOTCONN)
    done = machine.run("fossil-mount", machine.root, point)
    assert "dead mount" in done.stderr
    os.kill(machine.pid(point), signal.SIGKILL)
    wait_until(lambda: _stat_errno(point) == errno.ENOTCONN)
    assert "dead mount" in machine.run("fossil-umount", point).stderr


def test_who_meets_a_dead_mount_is_told_what_to_type(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    (point / "note").write_text("mine")
    [scratch] = machine.scratches()
    os.kill(machine.pid(point), signal.SIGKILL)
    wait_until(lambda: _stat_errno(point) == errno.ENOTCONN)
    said = machine.run("fossil-con", point, "status", status=8).stderr
    told = [words.split() for words in re.findall("`(.*?)`", said)]
    assert told[1][-2:] == [scratch.name, str(point)]
    assert f"`fossil-scratch resume {scratch.name} MNT`" in machine.run(*told[0]).stderr
    machine.run(*told[1])
    assert (point / "note").read_text() == "mine"


def _stat_errno(path: Path) -> int:
    try:
        path.stat()
    except OSError as error:
        return error.errno or 0
    return 0


def test_errors_are_one_line_with_a_status(machine: Machine) -> None:
    point = machine.point("mnt")
    full = machine.home / "full"
    full.mkdir()
    (full / "x").touch()
    for status, words in [
        (Exit.NOT_FOUND, ["vac:" + "0" * 63 + "1", point]),
        (Exit.USAGE, ["vac:123", point]),
        (Exit.MOUNT, [machine.root, machine.home / "none"]),
        (Exit.MOUNT, [machine.root, full]),
        (Exit.MOUNT, [machine.root, full / "x"]),
        (Exit.STORE, [machine.root, point, "--store", machine.home / "nostore"]),
        (Exit.USAGE, [machine.root, point, "--size", "1M"]),
        (Exit.USAGE, [machine.root, point, "--size", "much"]),
        (Exit.USAGE, [machine.root]),
    ]:
        done = machine.run("fossil-mount", *words, status=status)
        assert done.stderr.startswith("fossil-mount: "), words
        assert done.stderr.count("\n") == 1, done.stderr
    for program in ("fossil-save", "fossil-umount"):
        done = machine.run(program, point, status=Exit.NOT_FOUND)
        assert "no mount" in done.stderr
    machine.run("fossil-scratch", "resume", "nothing", point, status=Exit.NOT_FOUND)
    assert machine.scratches() == []
    machine.mount(machine.root, point)
    machine.run("fossil-mount", machine.root, point, status=Exit.MOUNT)


def test_read_only_and_ram(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point, "--ro")
    with pytest.raises(OSError, match="Read-only"):
        (point / "x").touch()
    machine.run("fossil-umount", point)
    machine.mount(machine.root, point, "--ram", "--size", "20M")
    (point / "x").write_text("in memory")
    (scratch,) = [
        json.loads(line)
        for line in machine.run("fossil-scratch", "ls", "--json").stdout.splitlines()
    ]
    assert scratch["place"] == "ram"
    assert scratch["directory"].startswith("/dev/shm/")
    assert stat.S_IMODE(os.stat(scratch["directory"]).st_mode) == 0o700
    score = machine.save(point)
    machine.run("fossil-umount", point)
    assert not os.path.exists(scratch["directory"])
    machine.mount(score, point)
    assert (point / "x").read_text() == "in memory"


def test_own_scratch_directory(machine: Machine) -> None:
    point = machine.point("mnt")
    place = machine.home / "deep" / "er" / "scratch"
    machine.mount(machine.root, point, "--disk", str(place))
    (point / "x").write_text("y")
    subprocess.run(["umount", point], check=True)
    wait_until(lambda: not list((machine.home / "run/spawngrid/mounts").glob("*.ndb")))
    other = machine.run("fossil-mount", machine.root, point, "--disk", str(place), status=1)
    assert "not an empty directory" in other.stderr
    wait_until(lambda: _resumes(machine, str(place), point))
    assert (point / "x").read_text() == "y"


def test_names(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    (point / "x").touch()
    score = machine.save(point, "work")
    assert f"rootscore={score}" in (machine.home / "data/spawngrid/names").read_text()
    machine.run("fossil-save", point, "bad/name", status=Exit.USAGE)


def test_the_console_answers_its_owner_alone(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    folder = machine.home / "run/spawngrid/mounts"
    wait_until(lambda: list(folder.glob("*.sock")))
    (console,) = folder.glob("*.sock")
    assert stat.S_IMODE(console.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        with socket_path(str(console)) as short:
            client.connect(short)
        client.sendall(b"status\nnonsense\n")
        answer = client.makefile().readline
        lines = [answer() for _ in range(3)]
        while not lines[-1].startswith(("ok", "error")):
            lines.append(answer())
        assert "\tunsaved=0\n" in lines
        assert answer().startswith("error 2 nonsense")


def test_mmap_append_truncate_and_sparse(machine: Machine) -> None:
    one, two = machine.point("one"), machine.point("two")
    machine.mount(machine.root, one)
    with open(one / "mapped", "w+b") as file:
        file.truncate(200_000)
        with mmap.mmap(file.fileno(), 200_000) as memory:
            memory[100_000:100_006] = b"mapped"
            memory.flush()
    with open(one / "log", "ab") as file:
        for n in range(100):
            file.write(b"line %d\n" % n)
            file.flush()
    with open(one / "log", "ab") as first, open(one / "log", "ab") as second:
        first.write(b"first\n")
        first.flush()
        second.write(b"second\n")
    (one / "cut").write_bytes(b"x" * 100_000)
    (one / "cut").write_text("short")
    descriptor = os.open(one / "excl", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    with pytest.raises(FileExistsError):
        os.open(one / "excl", os.O_CREAT | os.O_EXCL)
    os.pwrite(descriptor, b"end", 1 << 30)
    os.posix_fallocate(descriptor, 0, 4096)
    assert os.lseek(descriptor, 100_000, os.SEEK_DATA) <= 1 << 30
    os.close(descriptor)
    score = machine.save(one)
    machine.mount(score, two)
    assert (two / "mapped").read_bytes()[99_999:100_007] == b"\0mapped\0"
    assert (two / "log").read_text().splitlines()[-2:] == ["first", "second"]
    assert (two / "cut").read_text() == "short"
    with open(two / "excl", "rb") as file:
        file.seek((1 << 30) - 1)
        assert file.read() == b"\0end"
    assert (two / "excl").stat().st_size == (1 << 30) + 3


def test_exchange_noreplace_and_open_unlinked(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point)
    (point / "a").write_text("a")
    (point / "b").write_text("b")
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2

    def rename(old: str, new: str, flags: int) -> int:
        args = (-100, os.fsencode(point / old), -100, os.fsencode(point / new), flags)
        return 0 if renameat2(*args) == 0 else ctypes.get_errno()

    assert rename("a", "b", 1) == errno.EEXIST
    assert rename("a", "b", 2) == 0
    assert (point / "a").read_text() == "b"
    assert rename("a", "c", 1) == 0
    with open(point / "c", "r+") as file:
        os.unlink(point / "c")
        file.write("still here")
        file.flush()
        assert os.fstat(file.fileno()).st_nlink == 0
        assert os.pread(file.fileno(), 100, 0) == b"still here"
    assert sorted(os.listdir(point)) == ["b"]
    os.setxattr(point / "b", "user.colour", b"red")
    assert os.getxattr(point / "b", "user.colour") == b"red"
    assert os.statvfs(point).f_namemax == 255


def test_an_ordinary_user_mounts_through_fusermount3(machine: Machine, tmp_path: Path) -> None:
    nobody = 65534
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"]
    scripts = sysconfig.get_path("scripts")
    if subprocess.run(
        [*become, f"{scripts}/fossil-mount --help"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this Python cannot be run by other users")
    before = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", 0o666)
    try:
        for path in [machine.home, *machine.home.rglob("*")]:
            os.chown(path, nobody, nobody)
        reachable = [p for p in tmp_path.parents if p not in (Path("/"), Path("/tmp"))]
        modes = {p: stat.S_IMODE(p.stat().st_mode) for p in reachable}
        for path in reachable:
            path.chmod(modes[path] | 0o011)
        point = machine.point("mnt")
        os.chown(point, nobody, nobody)
        script = (
            f"set -e; mkdir {machine.home}/own; score=$(vac -q {machine.home}/own);"
            f" fossil-mount $score {point}; echo x > {point}/file;"
            f" fossil-save {point}; (cd {point}; ! fossil-umount {point}); fossil-umount {point};"
            f" fossil-mount $score {point}; cd {point};"
            f" kill $(sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p' {machine.home}/run/spawngrid/mounts/*.ndb);"
            f" while ls {machine.home}/run/spawngrid/mounts/*.ndb; do sleep 0.02; done 2> /dev/null;"
            f" ! grep ' {point} ' /proc/self/mountinfo"
        )
        path = f"{scripts}:{os.environ['PATH']}"
        done = subprocess.run(
            [*become, script],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS_MAX,
        )
        for reached, mode in modes.items():
            reached.chmod(mode)
    finally:
        os.chmod("/dev/fuse", before)
    assert done.returncode == 0, done.stderr
    assert "in use (`fossil-con" in done.stderr
    assert done.stdout.startswith("vac:")
    assert f" {point} " not in Path("/proc/self/mountinfo").read_text()
