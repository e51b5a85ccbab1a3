"""Hubs on a real mount, used by the programs that scripts are made of."""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import is_mounted, run
from tests.conftest import need
from tests.kit.guard import watch
from tests.kit.hubs import hub_mount

pytestmark = [pytest.mark.fuse, pytest.mark.root]

TEXT = b"one\ntwo\nthree\n"

# each reads three lines, and ends by itself once the hub has been ended with eof
PROGRAMS = {
    "cat": ["cat", "H"],
    "head": ["head", "-n", "3", "H"],
    "dd": ["dd", "if=H", "bs=64k", "status=none"],
    "sed": ["sed", "-n", "p", "H"],
    "awk": ["awk", "{print}", "H"],
    "grep": ["grep", "", "H"],
    "dash read": ["dash", "-c", 'while read -r line; do echo "$line"; done < H'],
    "bash read": ["bash", "-c", 'while read -r line; do echo "$line"; done < H'],
    "python": ["python3", "-c", "import sys; sys.stdout.write(open('H').read())"],
    "perl": ["perl", "-pe", "1", "H"],
    "tee": ["sh", "-c", "tee /dev/null < H"],
    "xargs": ["xargs", "-n1", "-a", "H", "echo"],
    "tail": ["tail", "-n", "3", "H"],
    "node": ["node", "-e", "require('fs').createReadStream('H').pipe(process.stdout)"],
    "socat": ["socat", "-u", "OPEN:H,rdonly", "STDOUT"],
    "cp": ["cp", "H", "/dev/stdout"],
    "tr": ["sh", "-c", "tr a-z a-z < H"],
    "mapfile": ["bash", "-c", "mapfile -t all < H; printf '%s\\n' \"${all[@]}\""],
}


def readers(hubs: Path, name: str) -> int:
    for line in (hubs / "ctl").read_text().splitlines():
        if line.startswith(f"{name}: "):
            return int(line.split()[4])
    return 0


def wait_until(condition: object, seconds: float = 15) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.replace(" ", "-"))
def test_a_program_reads_what_was_there_and_what_comes(hubs: Path, program: str) -> None:
    need("programs", shutil.which(PROGRAMS[program][0]) is not None, "not installed")
    hub = hubs / "h"
    hub.write_bytes(TEXT[:4])
    words = [word.replace("H", str(hub)) for word in PROGRAMS[program]]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
        wait_until(lambda: readers(hubs, "h"))
        with hub.open("ab", buffering=0) as writer:
            writer.write(TEXT[4:])
        deadline = time.monotonic() + 20
        while child.poll() is None and time.monotonic() < deadline:
            (hubs / "ctl").write_text("eof h")
            time.sleep(0.01)
        if child.poll() is None:
            child.kill()
        assert child.stdout is not None
        assert child.stdout.read() == TEXT
    assert child.returncode == 0


@pytest.mark.shim("interrupts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_blocked_reader_dies_of_a_signal(hubs: Path, number: signal.Signals) -> None:
    (hubs / "h").touch()
    with subprocess.Popen(["cat", str(hubs / "h")]) as child:
        wait_until(lambda: readers(hubs, "h"))
        child.send_signal(number)
        assert child.wait(10) == -number
    wait_until(lambda: not readers(hubs, "h"))


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("seconds", [0.0, pytest.param(15.0, marks=pytest.mark.long)])
@pytest.mark.parametrize("program", ["cat", "sed", "awk", "grep", "xargs", "bash read", "python"])
def test_signals_that_do_not_end_a_program_lose_it_nothing(
    hubs: Path, program: str, seconds: float
) -> None:
    (hubs / "h").touch()
    words = [word.replace("H", str(hubs / "h")) for word in PROGRAMS[program]]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
        wait_until(lambda: readers(hubs, "h"))
        end = time.monotonic() + seconds
        while True:
            for number in [signal.SIGWINCH, signal.SIGSTOP, signal.SIGCONT] * 5:
                child.send_signal(number)
                time.sleep(0.02)  # for the signal to arrive, which nothing shows
            if time.monotonic() >= end:
                break
        (hubs / "h").write_bytes(TEXT)
        while child.poll() is None:
            (hubs / "ctl").write_text("eof h")
            time.sleep(0.01)
        assert child.stdout is not None
        assert child.stdout.read() == TEXT
    assert child.returncode == 0


def test_a_child_that_ends_ends_no_wait_of_its_parent(hubs: Path) -> None:
    # shells all handle SIGCHLD, and of a pipe their system calls would go on by themselves
    (hubs / "h").touch()
    script = """
        $SIG{CHLD} = sub {};
        exec "sleep", "0.3" unless fork;
        my $size = sysread STDIN, my $text, 99;
        print defined $size ? "got $text" : "no: $!\n";
    """
    with (
        (hubs / "h").open("rb", buffering=0) as hub,
        subprocess.Popen(["perl", "-e", script], stdin=hub, stdout=subprocess.PIPE) as child,
    ):
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        wait_until(lambda: (pid := children.read_text().strip()) and state(int(pid)) == "Z")
        time.sleep(0.1)  # for the signal to arrive, which nothing shows
        (hubs / "h").write_bytes(b"what was said\n")
        assert child.stdout is not None
        assert child.stdout.read() == b"got what was said\n"


@pytest.mark.shim("interrupts")
def test_a_reader_that_was_stopped_and_went_on_can_still_be_killed(hubs: Path) -> None:
    # the kernel tells of the first signal only
    (hubs / "h").touch()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        with subprocess.Popen(["sed", "p", str(hubs / "h")]) as child:
            wait_until(lambda: readers(hubs, "h"))
            child.send_signal(signal.SIGSTOP)
            time.sleep(0.02)
            child.send_signal(signal.SIGCONT)
            begun = time.monotonic()
            child.send_signal(number)
            assert child.wait(10) == -number
            assert time.monotonic() - begun < 1
        wait_until(lambda: not readers(hubs, "h"))


@pytest.mark.shim("interrupts")
def test_ctrl_z_stops_a_reader_at_once(hubs: Path) -> None:
    (hubs / "h").touch()
    with subprocess.Popen(["cat", str(hubs / "h")], stdout=subprocess.PIPE, process_group=0) as cat:
        wait_until(lambda: readers(hubs, "h"))
        cat.send_signal(signal.SIGTSTP)
        wait_until(lambda: state(cat.pid) == "T")
        cat.send_signal(signal.SIGCONT)
        (hubs / "h").write_bytes(TEXT)
        (hubs / "h").unlink()
        assert cat.communicate(timeout=10)[0] == TEXT


def test_one_descriptor_for_both_ways_and_poll(hubs: Path) -> None:
    both = os.open(hubs / "h", os.O_RDWR | os.O_CREAT)
    poll = select.poll()
    poll.register(both, select.POLLIN)
    epoll = select.epoll()
    epoll.register(both, select.EPOLLIN)
    assert poll.poll(0) == []
    os.write(both, b"x")
    assert poll.poll(5000) == [(both, select.POLLIN)]
    assert epoll.poll(5) == [(both, select.EPOLLIN)]
    assert select.select([both], [], [], 5)[0] == [both]
    assert os.read(both, 10) == b"x"
    assert poll.poll(0) == []
    epoll.close()
    os.close(both)


def test_an_oversized_message_and_a_bad_command(hubs: Path) -> None:
    (hubs / "h").write_bytes(b"kept")
    with (
        pytest.raises(OSError, match="Message too long"),
        (hubs / "h").open("ab", buffering=0) as hub,
    ):
        hub.write(bytes(700_000))
    with (
        pytest.raises(OSError, match="Invalid argument"),
        (hubs / "ctl").open("wb", buffering=0) as ctl,
    ):
        ctl.write(b"bogus")
    assert "h: bytes 4 " in (hubs / "ctl").read_text()


def test_names_come_and_go(hubs: Path) -> None:
    (hubs / "group").mkdir()
    (hubs / "group" / "a").write_bytes(b"1")
    (hubs / "group" / "a").rename(hubs / "b")
    (hubs / "group").rmdir()
    (hubs / "b").chmod(0o600)
    os.chown(hubs / "b", 1234, 1234)
    assert sorted(p.name for p in hubs.iterdir()) == ["b", "ctl"]
    status = (hubs / "b").stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o600, 1234)
    with pytest.raises(PermissionError):
        (hubs / "ctl").unlink()


def test_readers_of_a_removed_hub_end(hubs: Path) -> None:
    (hubs / "h").write_bytes(TEXT)
    with subprocess.Popen(["cat", str(hubs / "h")], stdout=subprocess.PIPE) as child:
        wait_until(lambda: readers(hubs, "h"))
        (hubs / "h").unlink()
        assert child.wait(10) == 0
        assert child.stdout is not None
        assert child.stdout.read() == TEXT


def test_frozen_a_hub_is_edited_like_a_file(hubs: Path) -> None:
    hub = hubs / "h"
    hub.write_bytes(TEXT)
    (hubs / "ctl").write_text("freeze h")
    assert hub.read_bytes() == TEXT
    assert hub.stat().st_size == len(TEXT)
    subprocess.run(
        ["sh", "-c", f"sed s/two/2/ {hub} > {hubs.parent}/new; cat {hubs.parent}/new > {hub}"],
        check=True,
    )
    assert hub.read_bytes() == TEXT.replace(b"two", b"2")
    os.truncate(hub, 4)
    assert hub.read_bytes() == TEXT[:4]
    with hub.open("wb"):
        pass
    assert hub.stat().st_size == 0
    with pytest.raises(OSError, match="too large"):
        os.truncate(hub, 1 << 30)
    hub.write_bytes(TEXT.replace(b"two", b"2"))
    (hubs / "ctl").write_text("melt h")
    assert run("head", "-n", "3", hub).stdout == TEXT.replace(b"two", b"2")


def test_a_reader_goes_on_after_its_hub_was_cut(hubs: Path) -> None:
    hub = hubs / "h"
    hub.write_bytes(bytes(100))
    descriptor = os.open(hub, os.O_RDONLY)
    assert os.read(descriptor, 200) == bytes(100)
    (hubs / "ctl").write_text("freeze h")
    os.truncate(hub, 50)
    (hubs / "ctl").write_text("melt h")
    for word in (b"one", b"two"):
        with hub.open("ab", buffering=0) as writer:
            writer.write(word)
        assert os.read(descriptor, 200) == word
    # and back by lseek, as a shell's read does
    os.lseek(descriptor, -2, os.SEEK_CUR)
    assert os.read(descriptor, 200) == b"wo"
    os.close(descriptor)


def test_a_hundred_readers_get_every_message(hubs: Path) -> None:
    (hubs / "h").touch()
    children = [
        subprocess.Popen(["cat", str(hubs / "h")], stdout=subprocess.PIPE) for _ in range(100)
    ]
    try:
        wait_until(lambda: readers(hubs, "h") == 100, 60)
        expected = b"".join(b"message %d\n" % n for n in range(200))
        with (hubs / "h").open("ab", buffering=0) as hub:
            for n in range(200):
                hub.write(b"message %d\n" % n)
        wait_until(lambda: "lag 0 lost 0" in (hubs / "ctl").read_text())
        (hubs / "h").unlink()
        for child in children:
            assert child.communicate(timeout=30)[0] == expected
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_quit_ends_readers_and_the_mount(hubs: Path) -> None:
    (hubs / "h").write_bytes(TEXT)
    with subprocess.Popen(["cat", str(hubs / "h")], stdout=subprocess.PIPE) as child:
        wait_until(lambda: readers(hubs, "h"))
        (hubs / "ctl").write_text("quit")
        assert child.wait(10) == 0
        assert child.stdout is not None
        assert child.stdout.read() == TEXT
    wait_until(lambda: not is_mounted(hubs))


def test_a_command_is_taken_whole(hubs: Path) -> None:
    # the original told writers of ctl that 0 bytes were taken
    ctl = os.open(hubs / "ctl", os.O_WRONLY)
    assert os.write(ctl, b"fear\ncalm\n") == 10
    os.close(ctl)


@pytest.fixture
def open_hubs(home: Path) -> Iterator[Path]:
    """A hub mount that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="hubs-") as top:
        Path(top).chmod(0o755)
        watch(Path(top))
        with hub_mount(Path(top) / "hubs", "--allow-other") as point:
            yield point


def test_modes_and_owners_hold_for_other_users(open_hubs: Path) -> None:
    hubs = open_hubs

    def nobody(script: str, *, works: bool) -> None:
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script],
            cwd=hubs,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode == 0) is works, done.stderr

    (hubs / "mine").write_bytes(TEXT)
    (hubs / "secret").write_bytes(TEXT)
    (hubs / "secret").chmod(0o600)
    nobody("head -n 3 mine", works=True)
    for script in (
        "echo x >> mine",
        "head -n 1 secret",
        "rm -f mine",
        "mv mine other",
        "chmod 666 mine",
        "echo quit > ctl",
        "rm -f ctl",
    ):
        nobody(script, works=False)
    nobody("umask 027; : > theirs; mkdir group; : > group/x", works=True)
    assert ((hubs / "theirs").stat().st_mode & 0o777, (hubs / "theirs").stat().st_uid) == (
        0o640,
        65534,
    )
    nobody("chmod 666 theirs; mv theirs group/y; rm group/*; rmdir group", works=True)
    assert sorted(p.name for p in hubs.iterdir()) == ["ctl", "mine", "secret"]


def test_a_program_that_is_replaced_never_stops_the_daemon(hubs: Path) -> None:
    """execve closes a hub after any number of requests, with its own /proc/PID/stat locked."""
    (hubs / "hub").touch()
    script = """
import os, sys
for count in range(60, 130):
    child = os.fork()
    if child == 0:
        hub = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        for _ in range(count):
            os.write(hub, b"x")
        os.execv("/bin/true", ["true"])
    os.waitpid(child, 0)
"""
    subprocess.run([sys.executable, "-c", script, hubs / "hub"], check=True, timeout=60)
