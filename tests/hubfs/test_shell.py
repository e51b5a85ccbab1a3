"""Shells on hubs, on a real terminal."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pexpect
import pytest

from hubfs.shell.hubs import ShellHubs
from lib9.fuse.options import ENGINE_VARIABLE, STOCK
from tests.commands import environment, run
from tests.kit.hubs import daemon_of, hub_processes_of
from tests.kit.mounts import take_down

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture
def home_of_shells(home: Path) -> Iterator[Path]:
    point = home / "run" / "spawngrid" / "hubs" / "hubfs"
    try:
        yield home
        for pid in hub_processes_of(home):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)  # interactive shells ignore SIGTERM
        take_down(point)
        deadline = time.monotonic() + 10
        while left := hub_processes_of(home):
            assert time.monotonic() < deadline, f"processes {left} were left"
            time.sleep(0.02)
    finally:
        for pid in hub_processes_of(home):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        take_down(point)  # one that was on its way before, too


def hub(*words: str, shell: str = "/bin/sh") -> pexpect.spawn:
    return pexpect.spawn(
        "hub",
        list(words),
        env=environment({"TERM": "dumb", "SHELL": shell}),
        timeout=20,
        encoding="utf-8",
        echo=False,
    )


def test_two_people_share_a_shell_that_outlives_them(home_of_shells: Path) -> None:
    first = hub()
    first.expect("creating hubfs")
    first.expect("io; ")
    first.sendline("cd /usr; x=42")
    second = hub()
    second.sendline("echo $x from $PWD")
    for screen in (first, second):
        screen.expect("42 from /usr")
        screen.sendline("%detach")
        screen.expect(pexpect.EOF)
    third = hub()
    third.sendline("echo still $x")
    third.expect("still 42")
    third.sendline("exit")
    third.expect(pexpect.EOF)


def test_interrupt_and_end_of_file_reach_what_runs(home_of_shells: Path) -> None:
    shell = hub()
    shell.expect("io; ")
    shell.sendline("sleep 1000; echo interrupted")
    time.sleep(0.3)
    shell.sendintr()
    shell.sendline("echo done")
    shell.expect("done")
    shell.sendline("cat > /dev/null; echo cat ended")
    time.sleep(0.3)
    shell.sendeof()
    shell.expect("cat ended")
    shell.sendline("exit")
    shell.expect(pexpect.EOF)


def test_percent_commands(home_of_shells: Path) -> None:
    shell = hub()
    shell.expect("io; ")
    shell.sendline("%status")
    shell.expect("attached to io of .*in 0 ms  out 0 ms  err 0 ms")
    shell.sendline("%err 7")
    shell.sendline("%status")
    shell.expect("in 0 ms  out 0 ms  err 7 ms")
    shell.sendline("%list")
    shell.expect("io.note\r+\nio0\r+\nio1\r+\nio2")
    shell.sendline("%attach nosuch")
    shell.expect("no shell nosuch here")
    shell.sendline("%local other")
    shell.sendline("%status")
    shell.expect("attached to other of")
    shell.sendline("%local io")  # which is there
    shell.sendline("%remote third")
    shell.sendline("%status")
    shell.expect("attached to third of")
    shell.sendline("%attach ../x")
    shell.expect("not a name for a shell")
    shell.sendline("%attach io")
    shell.sendline("%bogus")
    shell.expect("%detach +leave")
    shell.expect("not found")  # it was no command of ours, so the shell got it
    shell.sendline("%quit")
    shell.expect(pexpect.EOF)


def test_a_full_screen_program_on_a_terminal(home_of_shells: Path) -> None:
    shell = hub("-p", "hubfs", "full")
    shell.setwinsize(33, 77)
    shell.sendline("PS1=READY' '")
    shell.expect("READY ")
    shell.sendline("stty size; tty")
    shell.expect("33 77")
    shell.expect("/dev/pts/")
    shell.setwinsize(22, 66)
    time.sleep(0.3)
    shell.sendline("stty size")
    shell.expect("22 66")
    shell.sendline("sleep 1000")
    time.sleep(0.3)
    shell.send("\x03")
    shell.sendline("echo alive")
    shell.expect("alive")
    shell.send("\x1d")
    shell.expect("%")
    shell.sendline("detach")
    shell.expect(pexpect.EOF)


def test_who_joins_late_answers_no_question_of_the_past(home_of_shells: Path) -> None:
    first = hub("-p", "hubfs", "full", shell="/bin/bash")  # whose read knows -d
    first.sendline("PS1=READY' '; stty -echo")
    first.expect("READY ")
    first.sendline(r"printf '\033[6n'; IFS= read -r -d R answer; echo answered")
    first.expect_exact("\x1b[6n")
    first.send("\x1b[1;1R")  # as its terminal does
    first.expect("answered")
    second = hub("-p", "hubfs", "full")
    second.expect("answered")
    assert "\x1b[6n" not in second.before
    # but what is asked from now on
    second.sendline(r"printf '\033[6n'; IFS= read -r -d R answer; echo again")
    second.expect_exact("\x1b[6n")
    for screen in (first, second):
        screen.send("\x1b[1;1R\x1d")
        screen.expect("%")
        screen.sendline("detach")
        screen.expect(pexpect.EOF)


def test_a_shell_that_is_being_made_is_waited_for(home_of_shells: Path) -> None:
    run("hub", "-b")
    point = home_of_shells / "run" / "spawngrid" / "hubs" / "hubfs"
    hubs = ShellHubs(str(point), "slow")
    (point / "slow0").touch()
    maker = threading.Timer(0.2, (point / "slow.note").touch)
    maker.start()
    assert hubs.exist()
    assert (point / "slow.note").exists()
    maker.join()
    hubs.remove()
    assert not hubs.exist()


def test_the_mount_ends_under_a_client_and_the_next_makes_it_anew(home_of_shells: Path) -> None:
    point = home_of_shells / "run" / "spawngrid" / "hubs" / "hubfs"
    shell = hub()
    shell.expect("io; ")
    os.kill(daemon_of(point, "hubfs.cli.hubfs"), signal.SIGKILL)
    shell.expect(f"hub: {point}: the hub mount has ended")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 8
    assert run("hub", "-b").stderr.startswith(b"creating hubfs")
    assert b"42\n" in run("hubshell", stdin=b"echo $((6 * 7))\n").stdout


def test_names_and_places_that_cannot_be(home_of_shells: Path) -> None:
    for words, status in [
        (["..", "io"], 2),
        (["hubfs", ""], 2),
        (["hubfs", "../x"], 2),
        (["hubfs", "a/b/c"], 2),
        (["/nonexistent/place"], 8),
    ]:
        said = run("hub", "-b", *words, status=status).stderr.splitlines()
        assert len([line for line in said if not line.startswith(b"creating")]) == 1


def test_a_shell_has_no_job_control_and_says_nothing_of_it(home_of_shells: Path) -> None:
    run("hub", "-b")
    done = run("hubshell", stdin=b"echo $HUB_MOUNT\nexit\n")
    point = home_of_shells / "run" / "spawngrid" / "hubs" / "hubfs"
    assert f"{point}\n".encode() in done.stdout
    assert b"job control" not in done.stderr


def test_a_script_as_input(home_of_shells: Path) -> None:
    run("hub", "-b")
    done = run("hubshell", stdin=b"echo $((6 * 7))\n")
    assert b"42\n" in done.stdout
    assert run("hubshell", "nosuch", status=4).stderr.count(b"\n") == 1
    assert run("hubshell", "hubfs", "nosuch", status=4).stderr.count(b"\n") == 1


def test_lines_typed_ahead_go_where_they_were_meant(home_of_shells: Path) -> None:
    run("hub", "-b")
    run("hub", "-b", "hubfs", "other")
    done = run("hubshell", stdin=b"who=io\n%attach other\nwho=other\n%attach io\necho at $who\n")
    assert b"at io\n" in done.stdout


def test_a_shell_whose_host_was_killed_is_made_anew(home_of_shells: Path) -> None:
    run("hub", "-b")
    for pid in hub_processes_of(home_of_shells):
        if b"hubfs.shell.host" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            os.kill(pid, signal.SIGKILL)
            children = Path(f"/proc/{pid}/task/{pid}/children")
            if children.exists():
                for child in children.read_text().split():
                    os.kill(int(child), signal.SIGKILL)
    for pid in hub_processes_of(home_of_shells):  # the shell lives on without its host
        if b"/bin/sh" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    if os.environ.get(ENGINE_VARIABLE) == STOCK:  # there a killed reader ends with the next message
        point = home_of_shells / "run" / "spawngrid" / "hubs" / "hubfs"
        (point / "io0").write_bytes(b"\n")
    assert b"made anew" in run("hub", "-b").stderr
    assert b"42\n" in run("hubshell", stdin=b"echo $((6 * 7))\n").stdout


def test_a_terminal_takes_more_than_it_reads(home_of_shells: Path) -> None:
    # a program that prints and never reads: what is typed must not stop it
    run("hub", "-b", "-p", "hubfs", "busy")
    point = home_of_shells / "run" / "spawngrid" / "hubs" / "hubfs"
    (point / "busy0").write_bytes(b"stty raw -echo; sleep 0.5; seq 1 30000; echo fin''ished\n")
    (point / "busy0").write_bytes(b"x" * 200_000)
    with (point / "busy1").open("rb", buffering=0) as output:
        seen = b""
        deadline = time.monotonic() + 20
        while b"finished" not in seen:
            assert time.monotonic() < deadline
            seen = seen[-100:] + output.read(1 << 16)
