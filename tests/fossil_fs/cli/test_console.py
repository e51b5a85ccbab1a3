"""fossil-con and the console's words on real mounts; mounts that hang."""

import json
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from lib9.errors import Exit
from lib9.fuse.options import ENGINE_VARIABLE
from tests.fossil_fs.cli.mounts import SCRIPTS, Machine, machine_at, wait_until

pytestmark = [pytest.mark.fuse, pytest.mark.root]
STOCK = os.environ.get(ENGINE_VARIABLE) == "stock"


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    with machine_at(home) as made:
        yield made


@pytest.fixture
def point(machine: Machine) -> Path:
    made = machine.point("mnt")
    machine.mount(machine.root, made)
    return made


def con(machine: Machine, point: Path, *words: str, status: int = 0) -> list[str]:
    return machine.run("fossil-con", point, *words, status=status).stdout.splitlines()


def facts(machine: Machine, point: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in con(machine, point, "status"))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_status_says_what_is_unsaved_and_whether_the_power_may_go(
    machine: Machine, point: Path
) -> None:
    found = facts(machine, point)
    assert found["engine"] == ("stock" if STOCK else "shim")
    assert (found["unsaved"], found["safe"], found["halted"]) == ("0", "1", "0")
    assert (found["venti"], found["place"], found["score"]) == ("ok", "disk", machine.root)
    (point / "file").write_text("x")
    found = facts(machine, point)
    assert (found["unsaved"], found["safe"]) == ("1", "0")
    assert int(found["uncommitted"]) > 0
    assert con(machine, point, "sync") == []
    found = facts(machine, point)
    assert (found["unsaved"], found["safe"]) == ("1", "1")
    (score,) = con(machine, point, "save")
    assert con(machine, point, "last") == [score]
    found = facts(machine, point)
    assert (found["unsaved"], found["saves"], found["score"]) == ("0", "1", score)


def test_ram_is_safe_only_when_saved(machine: Machine) -> None:
    point = machine.point("mnt")
    machine.mount(machine.root, point, "--ram")
    assert facts(machine, point)["safe"] == "1"
    (point / "file").write_text("x")
    con(machine, point, "sync")
    assert facts(machine, point)["safe"] == "0"
    con(machine, point, "save")
    assert facts(machine, point)["safe"] == "1"


def test_stats(machine: Machine, point: Path) -> None:
    (point / "file").write_bytes(b"x" * 100_000)
    os.stat(point / "file")
    machine.save(point)
    assert (point / "file").read_bytes() == b"x" * 100_000
    (line,) = con(machine, point, "stats", "--json")
    found = json.loads(line)
    assert found["requests"]["write"]["count"] >= 1
    times = found["requests"]["write"]
    assert 0 < times["median_us"] <= times["p99_us"] < 60e6
    assert found["venti"]["bytes_written"] > 100_000
    assert found["saves"] == 1
    assert found["faults"]["failed"] == 0
    shown = con(machine, point, "stats")
    assert any(row.startswith("write ") for row in shown)
    assert "changed: " in shown[-1]
    con(machine, point, "stats", "--jsno", status=Exit.USAGE)


def test_df_and_help_and_errors(machine: Machine, point: Path) -> None:
    (line,) = con(machine, point, "df")
    assert line.endswith("% used)")
    assert " used + " in line
    words = [line.split()[0] for line in con(machine, point, "help")]
    assert {"df", "sync", "check", "status", "stats", "halt", "unhalt", "who", "help"} <= set(words)
    assert "discard" not in words
    assert len(con(machine, point, "help", "df")) == 1
    wrong = machine.run("fossil-con", point, "nonsense", status=Exit.USAGE)
    assert wrong.stderr == "fossil-con: nonsense: no such word (see help)\n"
    con(machine, point, "df", "x", status=Exit.USAGE)
    con(machine, machine.home, "df", status=Exit.NOT_FOUND)


def test_commands_from_standard_input_end_at_the_first_that_fails(
    machine: Machine, point: Path
) -> None:
    done = subprocess.run(
        [SCRIPTS / "fossil-con", point],
        input="last\n# a comment\n\n help 'df'\nnonsense\nlast\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.USAGE
    assert done.stdout.splitlines()[0] == machine.root
    assert len(done.stdout.splitlines()) == 2


def test_a_conversation(machine: Machine, point: Path) -> None:
    child = pexpect.spawn(str(SCRIPTS / "fossil-con"), [str(point)], encoding="utf-8", timeout=30)
    try:
        child.expect("fossil: ")
        child.sendline("last")
        child.expect(machine.root)
        child.expect("fossil: ")
        child.sendline("nonsense 'x")
        child.expect("No closing quotation")
        child.expect("fossil: ")
        child.sendline("nonsense")
        child.expect("no such word")
        child.expect("fossil: ")
        child.send("d\t")
        child.expect("df ")
        child.sendline("")
        child.expect("% used")
        child.expect("fossil: ")
        child.sendline("quit")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert child.exitstatus == 0


def test_who(machine: Machine, point: Path) -> None:
    (point / "dir").mkdir()
    (point / "file").write_text("x")
    with subprocess.Popen(
        ["sh", "-c", "exec 3<../file; echo; read x"],
        cwd=point / "dir",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        lines = con(machine, point, "who")
        shell.communicate(b"\n")
    assert f"root {shell.pid} sh {point}/file" in lines
    assert f"root {shell.pid} sh {point}/dir" in lines
    assert any(line.endswith(" console") for line in lines)
    assert not any(str(shell.pid) in line for line in con(machine, point, "who"))


def test_check_finds_nothing_wrong(machine: Machine, point: Path) -> None:
    (point / "dir").mkdir()
    (point / "dir/file").write_bytes(os.urandom(100_000))
    (line,) = con(machine, point, "check", "--blocks")
    assert "2 names" in line
    assert line.endswith("all agree")
    machine.save(point)
    (line,) = con(machine, point, "check", "--blocks")
    assert line.startswith("0 inodes")
    (point / "dir/file").write_text("changes go on afterwards")


def waits(process: "subprocess.Popen[bytes]") -> bool:
    """Tell whether it sleeps in the kernel, waiting for an answer of the mount."""
    stack = Path(f"/proc/{process.pid}/wchan").read_text()
    return "fuse" in stack or "request_wait" in stack


def test_halt_lets_changes_wait_and_reads_go_on(machine: Machine, point: Path) -> None:
    (point / "file").write_text("before")
    con(machine, point, "halt")
    found = facts(machine, point)
    assert (found["halted"], found["safe"]) == ("1", "1")
    subprocess.run(["cat", point / "file"], check=True, stdout=subprocess.DEVNULL)
    with subprocess.Popen(["sh", "-c", "echo after > file"], cwd=point) as writer:
        wait_until(lambda: waits(writer))
        assert (point / "file").read_text() == "before"
        assert writer.poll() is None
        assert con(machine, point, "save")[0].startswith("vac:")
        con(machine, point, "unhalt")
        assert writer.wait(30) == 0
    assert (point / "file").read_text() == "after\n"
    assert facts(machine, point)["halted"] == "0"
    for wrong in ("0", "x", "1e9"):
        con(machine, point, "halt", wrong, status=Exit.USAGE)


@pytest.mark.skipif(STOCK, reason="the stock engine hears of no signals")
def test_who_waits_for_a_halt_can_be_killed(machine: Machine, point: Path) -> None:
    (point / "file").touch()
    con(machine, point, "halt")
    for script in ("truncate -s 5 file", "mkdir d", "rm file", "mv file f", "chmod 600 file"):
        # one at a time: they hold locks of the kernel's, on which others could not be killed
        with subprocess.Popen(["sh", "-c", f"exec {script}"], cwd=point) as writer:
            wait_until(lambda writer=writer: waits(writer))  # type: ignore[misc]
            writer.kill()
            assert writer.wait(30) == -signal.SIGKILL
    con(machine, point, "unhalt")
    assert os.listdir(point) == ["file"]
    con(machine, point, "check")


def test_a_halt_ends_by_itself(machine: Machine, point: Path) -> None:
    con(machine, point, "halt", "0.3")
    (point / "file").write_text("waited")
    assert facts(machine, point)["halted"] == "0"


def test_a_halted_mount_ends_in_good_order(machine: Machine, point: Path) -> None:
    con(machine, point, "halt")
    with subprocess.Popen(["sh", "-c", "echo last > file"], cwd=point) as writer:
        wait_until(lambda: waits(writer))
        os.kill(machine.pid(point), signal.SIGTERM)
        assert writer.wait(60) == 0
    wait_until(lambda: not list((machine.home / "run/spawngrid/mounts").glob("*.ndb")), 60)
    (scratch,) = machine.scratches()
    machine.run("fossil-scratch", "resume", scratch, point)
    assert (point / "file").read_text() == "last\n"


def test_a_shell_script_does_all_of_it_by_echo_and_cat(machine: Machine, point: Path) -> None:
    script = """
        set -e
        say() { echo "$@" > .fossilfs/ctl; cat .fossilfs/ctl; }
        say halt; grep halted=1 .fossilfs/status; say unhalt; grep halted=0 .fossilfs/status
        echo content > file
        say sync; say check; say df; say who; say stats
        say save > score; cat score
        if echo check this 2> /dev/null > .fossilfs/ctl; then exit 1; fi
        cat .fossilfs/ctl
    """
    done = subprocess.run(
        ["bash", "-c", script], cwd=point, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["halted=1", "halted=0"]
    assert any(line.endswith("all agree") for line in lines)
    assert lines[-1] == "error: check: takes --blocks and nothing else"
    assert lines[-2].startswith("vac:")


def test_stopped_for_ten_seconds_nothing_is_lost(machine: Machine, point: Path) -> None:
    pid = machine.pid(point)
    written = os.urandom(3_000_000)
    script = (
        "for n in 1 2 3 4 5; do cp ../source copy$n; mkdir d$n; mv copy$n d$n/; done; sync -f ."
    )
    (machine.home / "source").write_bytes(written)
    with subprocess.Popen(["sh", "-ec", script], cwd=point) as writer:
        wait_until(lambda: (point / "d1").exists())
        with stopped(pid):
            end = time.monotonic() + 10
            while time.monotonic() < end:
                signal.sigtimedwait([], 1)
        assert writer.wait(60) == 0
    for n in range(1, 6):
        assert (point / f"d{n}/copy{n}").read_bytes() == written
    con(machine, point, "check")


def test_force_ends_a_mount_whose_daemon_hangs(machine: Machine, point: Path) -> None:
    (point / "file").write_text("kept")
    (point / "large").write_bytes(b"x" * 200_000)
    pid = machine.pid(point)
    os.kill(pid, signal.SIGSTOP)
    with subprocess.Popen(
        ["cat", point / "large", point / "none"], stderr=subprocess.PIPE
    ) as reader:
        wait_until(lambda: waits(reader))
        done = machine.run("fossil-umount", "--force", point)
        assert "hung and was killed" in done.stderr
        assert reader.wait(30) != 0
    assert not os.path.ismount(point)
    assert list((machine.home / "run/spawngrid/mounts").glob("*.ndb")) == []
    (scratch,) = machine.scratches()
    assert "all agree" in machine.run("fossil-scratch", "check", scratch, "--blocks").stdout
    machine.run("fossil-scratch", "resume", scratch, point)
    assert (point / "file").read_text() == "kept"
    assert (point / "large").read_bytes() == b"x" * 200_000


def test_force_on_dead_and_living_mounts(machine: Machine, point: Path) -> None:
    (point / "file").write_text("kept")
    pid = machine.pid(point)
    os.kill(pid, signal.SIGKILL)
    done = machine.run("fossil-umount", "--force", point)
    assert "unmounted" in done.stderr
    assert not os.path.ismount(point)
    (scratch,) = machine.scratches()
    wait_until(lambda: resumes(scratch, point))
    machine.run("fossil-umount", "--force", point)
    assert not os.path.ismount(point)
    machine.run("fossil-umount", "--force", point, status=Exit.NOT_FOUND)
    assert machine.scratches() == [scratch]
    wait_until(lambda: resumes(scratch, point))
    assert (point / "file").read_text() == "kept"


def resumes(scratch: Path, point: Path) -> bool:
    program = Path(sysconfig.get_path("scripts")) / "fossil-scratch"
    done = subprocess.run([program, "resume", scratch, point], check=False, capture_output=True)
    return done.returncode == 0


def test_the_console_answers_while_the_mount_is_stuck(machine: Machine, point: Path) -> None:
    """A store that hangs: what waits for it waits, the console does not."""
    con(machine, point, "halt")
    with subprocess.Popen(["sh", "-c", "echo x > file"], cwd=point) as writer:
        wait_until(lambda: waits(writer))
        assert facts(machine, point)["halted"] == "1"
        assert json.loads(con(machine, point, "stats", "--json")[0])["engine"]
        con(machine, point, "unhalt")
        assert writer.wait(30) == 0


@contextmanager
def served(store: Path, address: str) -> Iterator[None]:
    command = [SCRIPTS / "venti", "serve", "--listen", address, store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline().strip() == address
            yield
        finally:
            server.terminate()


def test_a_venti_that_is_gone_and_comes_back(machine: Machine) -> None:
    address = f"unix!{machine.home}/venti"
    point = machine.point("mnt")
    with served(machine.store, address):
        machine.mount(machine.root, point, "--store", address)
        (point / "file").write_text("before")
        machine.save(point)
        assert facts(machine, point)["venti"] == "ok"
        (point / "new").mkdir()
    (point / "new/later").write_text("written while it is away")
    wait_until(lambda: facts(machine, point)["venti"].startswith("down since "))
    found = facts(machine, point)
    assert (found["unsaved"], found["store"]) == ("1", address)
    assert json.loads(con(machine, point, "stats", "--json")[0])["venti"]["trouble"]
    assert con(machine, point, "sync") == []
    assert facts(machine, point)["safe"] == "1"
    with served(machine.store, address):
        score = machine.save(point)
        assert facts(machine, point)["venti"] == "ok"
        assert con(machine, point, "last") == [score]
        machine.run("fossil-umount", point)
