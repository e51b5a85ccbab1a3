"""Commands that join an environment of bubblewrap's: each way by which others have been left is tried."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spawngrid.environment.cgroups.group import Group, read_layout
from spawngrid.environment.interface import Environment
from spawngrid.environment.processes import start_time
from spawngrid.environment.runtimes.joining import words
from tests.spawngrid.environment.guest import as_guest, attempts, joining, order, own
from tests.spawngrid.environment.machine import Machine, wait_until

pytestmark = [pytest.mark.root, pytest.mark.fuse]
JOINED_SECONDS_MAX = 60


@pytest.fixture(scope="module")
def env(machine: Machine) -> Iterator[Environment]:
    with machine.spawned(limits=None) as made:
        wait_until(lambda: "/bin/sh -i" in machine.sh(made, "ps").out)
        yield made


def joined(
    machine: Machine, env: Environment, *argv: str, **changes: object
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        joining(machine, env, argv, **changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=JOINED_SECONDS_MAX,
        env={},
    )


class Held:
    """A command that has been sent in and waits there: its carrier cannot put it into a cgroup yet."""

    def __init__(self, machine: Machine, env: Environment, folder: Path) -> None:
        self._gate = folder / "cgroup.procs"
        os.mkfifo(self._gate)
        words = joining(machine, env, ["/bin/sleep", "1000"], groups=[str(folder)])
        self.carrier = subprocess.Popen(words, stdin=subprocess.DEVNULL, env={})
        self.pid = 0  # as it is seen inside
        wait_until(lambda: self._find(machine, env))

    def _find(self, machine: Machine, env: Environment) -> bool:
        self.pid = as_guest(machine, env, lambda: _python_inside())
        return self.pid > 0

    def go_on(self) -> None:
        self._gate.read_text()

    def end(self) -> None:
        self.carrier.kill()
        self.carrier.wait()


def _python_inside() -> int:
    """Return a process that runs Python, as only what has not become a guest's program does."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        status = Path("/proc", name, "status").read_text()
        is_ours = status.startswith("Name:\tpython") and "zombie" not in status
        if is_ours and int(name) != os.getpid():
            return int(name)
    return 0


@pytest.fixture
def held(machine: Machine, env: Environment, tmp_path: Path) -> Iterator[Held]:
    made = Held(machine, env, tmp_path)
    try:
        yield made
    finally:
        made.end()
        machine.sh(env, "killall sleep")


def test_nobody_inside_can_look_into_a_command_before_it_is_theirs(
    machine: Machine, env: Environment, held: Held
) -> None:
    """As in runc before 1.0: a guest that traces who joins has all that the joiner still has."""
    found = as_guest(machine, env, lambda: attempts(held.pid))
    assert set(found.values()) == {"PermissionError"}, found
    held.go_on()
    wait_until(lambda: "sleep 1000" in machine.sh(env, "ps").out)
    found = as_guest(machine, env, lambda: attempts(held.pid))
    assert {found[way] for way in ("environ", "maps", "fd", "exe", "trace")} == {"done"}, (
        "it is theirs"
    )


def test_it_has_a_guests_rights_from_its_first_moment(
    machine: Machine, env: Environment, held: Held
) -> None:
    fields = (
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
    )

    def rights() -> list[list[str]]:
        statuses = (Path(f"/proc/{pid}/status").read_text() for pid in (held.pid, 1))
        return [
            [line for line in status.splitlines() if line.partition(":")[0] in fields]
            for status in statuses
        ]

    before, initial = as_guest(machine, env, rights)
    assert before == initial


def test_a_carrier_that_is_killed_takes_a_waiting_command_with_it(
    machine: Machine, env: Environment, held: Held
) -> None:
    held.end()
    wait_until(lambda: as_guest(machine, env, _python_inside) == 0)


def test_no_descriptor_is_taken_along(machine: Machine, env: Environment) -> None:
    """CVE-2024-21626, CVE-2016-9962: an open directory of the machine is the way to all of it."""
    outside = os.open("/etc", os.O_PATH | os.O_DIRECTORY)
    try:
        done = subprocess.run(
            joining(
                machine,
                env,
                ["/bin/sh", "-c", "ls -l /proc/self/fd /proc/$$/fd; ls /proc/self/fd/*/"],
            ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=(outside,),
        )
    finally:
        os.close(outside)
    links = [line.split(" -> ")[1] for line in done.stdout.splitlines() if " -> " in line]
    assert len(links) == 6, "three of ls, three of its shell"
    assert all(link.startswith("pipe:") for link in links), links
    assert "hostname" not in done.stdout


def test_a_command_has_three_descriptors(machine: Machine, env: Environment) -> None:
    machine.say(env, "sleep 1001 &")
    process = subprocess.Popen(joining(machine, env, ["/bin/sleep", "1002"]), env={})
    try:
        wait_until(
            lambda: all(seconds in machine.sh(env, "ps").out for seconds in ("1001", "1002"))
        )
        for seconds in ("1001", "1002"):
            [pid] = [p for p in _everywhere() if _words(p)[1:] == [seconds, ""]]
            kept = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
            assert set(kept) == {"0", "1", "2"}, kept
        initial = {os.readlink(f"/proc/{env.init_pid}/fd/{n}") for n in range(3)}
        assert initial == {"/"}, "a file in no tree of mounts"
    finally:
        machine.sh(env, "killall sleep")
        process.wait(JOINED_SECONDS_MAX)


def _everywhere() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


@pytest.mark.parametrize(
    "directory",
    [
        *(f"/proc/self/fd/{n}" for n in range(3, 9)),
        "/proc/self/cwd",
        "/proc/self/root",
        "/link/..",
        "/proc/1/cwd",
    ],
)
def test_it_begins_at_no_link_of_the_kernels(
    machine: Machine, env: Environment, directory: str
) -> None:
    machine.sh(env, "ln -sf /proc/self/fd/7 /link")
    done = joined(machine, env, "/bin/pwd", directory=directory)
    assert (done.returncode in (126, 127), done.stdout) == (True, "")


def test_it_begins_below_the_root(machine: Machine, env: Environment) -> None:
    machine.sh(env, "mkdir -p /deep/er; ln -sf /../../../deep /up")
    for directory, where in (("/deep/er", "/deep/er"), ("../../..", "/"), ("/up", "/deep")):
        assert joined(machine, env, "/bin/pwd", directory=directory).stdout == f"{where}\n"


def test_the_machines_python_cannot_be_written_to(machine: Machine, env: Environment) -> None:
    """CVE-2019-5736: who joins is itself a file of the machine, which a guest may name."""

    def write() -> str:
        try:
            open("/proc/self/exe", "r+b").close()
        except PermissionError:
            return "refused"
        return "open"

    assert as_guest(machine, env, write) == "refused"
    with machine.spawned(limits=None) as other:
        machine.sh(other, "rm /bin/ls; echo '#!/proc/self/exe' > /bin/ls; chmod +x /bin/ls")
        machine.sh(other, "ln -sf /proc/self/exe /bin/sh")
        for program in ("/bin/sh", "/bin/ls"):
            done = joined(machine, other, program, "-c", "print('the machine')")
            assert (done.returncode in (126, 127), done.stdout) == (True, "")


def test_nothing_is_imported_from_the_guests_files(machine: Machine, env: Environment) -> None:
    """CVE-2019-14271: what a program loads late, it loads from where it is then."""
    for folder in filter(None, sys.path):
        machine.run(env, "mkdir", "-p", folder)
        machine.sh(env, f"echo 'raise SystemExit(9)' > '{folder}/module_of_the_guests.py'")

    def load() -> str:
        try:
            import module_of_the_guests  # type: ignore[import-not-found]  # noqa: F401
        except (ImportError, ImportWarning):
            return "none"
        return "loaded"

    assert as_guest(machine, env, load) == "none"


def test_another_process_of_that_number_is_not_joined(machine: Machine, env: Environment) -> None:
    begun = start_time(env.init_pid)
    assert begun is not None
    done = joined(machine, env, "/bin/echo", "inside", start=begun + 1)
    assert (done.returncode, done.stdout) == (126, "")
    assert "has ended" in done.stderr
    done = joined(
        machine, env, "/bin/echo", "inside", pid=os.getpid(), start=start_time(os.getpid())
    )
    assert (done.returncode, done.stdout) == (126, "")


def test_without_its_cgroup_nothing_is_run(
    machine: Machine, env: Environment, tmp_path: Path
) -> None:
    done = joined(machine, env, "/bin/touch", "/ran", groups=[str(tmp_path / "none")])
    assert done.returncode == 126
    wait_until(lambda: as_guest(machine, env, _python_inside) == 0)
    assert machine.sh(env, "ls /ran").status != 0


def test_a_terminal_is_the_environments_own(machine: Machine, env: Environment) -> None:
    """A guest may put what it likes in the place of /dev/ptmx."""
    machine.sh(env, "rm /dev/ptmx; mkfifo /dev/ptmx")
    outer, ours = os.openpty()
    script = "tty; ls -l /proc/self/fd/1; ls /dev/pts"
    words = joining(machine, env, ["/bin/sh", "-c", script], terminal=True)
    process = subprocess.Popen(
        words, stdin=ours, stdout=ours, stderr=ours, start_new_session=True, env={}
    )
    os.close(ours)
    said = b""
    try:
        while b"ptmx" not in said:
            said += os.read(outer, 1024)
        assert process.wait(JOINED_SECONDS_MAX) == 0
    finally:
        os.close(outer)
    assert said.startswith(b"/dev/pts/0\r\n")
    assert b"-> /dev/pts/0" in said


def test_signals_that_the_service_ignores_are_not_ignored_inside(
    machine: Machine, env: Environment
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        done = joined(machine, env, "/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")
    finally:
        signal.signal(signal.SIGHUP, before)
    _, blocked, _, ignored = done.stdout.split()
    # the C library keeps two for itself, which who is started by make has ignored
    assert (int(blocked, 16), int(ignored, 16) & ~(0b11 << 31)) == (0, 0)


def test_nothing_of_what_made_it_is_left_in_it(machine: Machine, env: Environment) -> None:
    place = own(machine, env)
    programs = {
        os.readlink(f"/proc/{pid}/exe")
        for pid in Group(read_layout(), place.guest_cgroup).processes()
    }
    assert programs - {"/bin/busybox"} == {"/dev/init"}


def test_variables_and_lineof_any_bytes(machine: Machine, env: Environment) -> None:
    word, value = b"\xff\xfe 'x' \n", "a=b\udcff"
    shell = ["/bin/sh", "-c", 'printf "%s|%s" "$1" "$VALUE"', "sh", os.fsdecode(word)]
    line = words(order(machine, env, variables=1), [f"VALUE={value}"], shell)
    done = subprocess.run(line, capture_output=True, check=False, env={})
    assert done.stdout == word + b"|" + os.fsencode(value)
