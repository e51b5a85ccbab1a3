"""Runtimes: which one it is, that both show and allow the same, that none gives less than was asked for."""

import ctypes
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from spawngrid.environment import doctor, oci, record
from spawngrid.environment.cgroups.group import Group, read_layout
from spawngrid.environment.interface import CannotIsolate, Environment, Limits, Network, StartFailed
from spawngrid.environment.places import Places
from spawngrid.environment.runtimes import filters, launching
from spawngrid.environment.runtimes.bubblewrap import Bubblewrap, check_made
from spawngrid.environment.runtimes.choosing import choose
from spawngrid.environment.runtimes.runc import Runc
from tests.spawngrid.environment.guest import own
from tests.spawngrid.environment.machine import Machine
from tests.spawngrid.environment.test_filters import X86, X86_64, answer

_RIGHTS = re.compile(r"(Uid|Gid|Groups|Cap\w+|NoNewPrivs|Seccomp\w*|Umask|SigIgn|SigCgt):.*")


def configuration(**changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "hostname": "host",
        "slot": 7000,
        "cgroup": "/c",
        "limits": None,
        "network": "none",
        "binds": [],
        "swap_counted": False,
    }
    return oci.configuration(**facts | changes)


def installed(monkeypatch: pytest.MonkeyPatch, *, runc: bool, bubblewrap: bool) -> None:
    for each, there in ((Runc, runc), (Bubblewrap, bubblewrap)):
        lacks = "" if there else f"{each.name} is not installed"
        monkeypatch.setattr(each, "lacks", lambda _self, lacks=lacks: lacks)


def test_which_runtime_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, runc=True, bubblewrap=True)
    assert (choose(None), choose(Limits())) == ("bubblewrap", "runc")
    installed(monkeypatch, runc=True, bubblewrap=False)
    assert (choose(None), choose(Limits())) == ("runc", "runc")
    installed(monkeypatch, runc=False, bubblewrap=True)
    assert choose(None) == "bubblewrap"
    with pytest.raises(CannotIsolate, match="runc is not installed"):
        choose(Limits())
    installed(monkeypatch, runc=False, bubblewrap=False)
    with pytest.raises(CannotIsolate, match="bubblewrap is not installed; runc is not installed"):
        choose(None)


@pytest.mark.parametrize(
    ("runc", "bubblewrap", "levels"),
    [
        (True, True, ("ok", "ok")),
        (True, False, ("ok", "note")),
        (False, True, ("lacks", "ok")),
        (False, False, ("lacks", "lacks")),
    ],
)
def test_what_the_doctor_says(
    monkeypatch: pytest.MonkeyPatch, runc: bool, bubblewrap: bool, levels: tuple[str, str]
) -> None:
    installed(monkeypatch, runc=runc, bubblewrap=bubblewrap)
    found = {each.name: each for each in doctor.findings()}
    assert (found["runc"].level, found["bubblewrap"].level) == levels
    for each in (found["runc"], found["bubblewrap"]):
        assert bool(each.remedy) == (each.level == "lacks")
        assert ("not installed" in each.fact) == (each.level != "ok")


def test_bubblewrap_wants_the_library_that_makes_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(filters, "library", lambda: None)
    assert Bubblewrap().lacks() == "libseccomp.so.2 is not installed"
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert (Bubblewrap().lacks(), Runc().lacks()) == (
        "bwrap is not installed",
        "runc is not installed",
    )


@pytest.mark.parametrize(
    ("network", "own_network"), [("none", True), ("nat", True), ("host", False)]
)
def test_what_bwrap_is_told(network: Network, own_network: bool) -> None:
    words = launching.arguments(configuration(network=network), tell=7, passes=8, filtered=9)
    capabilities = [word for name in oci.CAPABILITIES for word in ("--cap-add", name)]
    unshared = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup"]
    assert words == [
        "bwrap",
        *unshared,
        *["--unshare-net"] * own_network,
        *["--hostname", "host", "--bind", "/mnt", "/", "--cap-drop", "ALL", *capabilities],
        *["--as-pid-1", "--new-session", "--chdir", "/"],
        *["--info-fd", "7", "--block-fd", "8", "--seccomp", "9", "--", "/dev/init", "-P"],
    ]


def test_a_process_with_more_rights_than_asked_for_is_not_taken() -> None:
    with pytest.raises(StartFailed, match=r"less than it was asked to.*NoNewPrivs.*Uid.*pid"):
        check_made(os.getpid(), configuration())


@pytest.fixture
def place(tmp_path: Path) -> Any:
    made = Places(str(tmp_path), str(tmp_path)).of("0123456789ab")
    os.makedirs(made.folder)
    yield made
    for path in (made.guest_cgroup, made.cgroup, made.node.cgroup):
        Group(read_layout(), path).remove()


@pytest.mark.root
def test_what_bwrap_complains_of_is_told(machine: Machine, place: Any) -> None:
    impossible = configuration(hostname="h" * 99)
    with pytest.raises(StartFailed, match=r"bwrap: .*hostname"):
        Bubblewrap().create(place, impossible)
    assert Group(read_layout(), place.guest_cgroup).processes() == set()


@pytest.mark.root
def test_without_a_filter_it_never_runs(machine: Machine, place: Any, tmp_path: Path) -> None:
    """Whoever makes it may die at any moment: then it is gone too."""
    config = configuration(slot=7001)
    config["root"]["path"] = "/"
    config["process"]["args"] = ["/bin/sh", "-c", f"echo ran > {tmp_path}/ran; sleep 1000"]
    launched = launching.launch(place, config)
    pid = launched.wait()
    assert pid
    check_made(pid, config)
    ended = os.pidfd_open(pid)
    os.close(launched.gate)
    os.waitpid(launched.monitor, 0)
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(ended, 0)
    os.close(ended)
    assert not (tmp_path / "ran").exists()


def as_runc(machine: Machine, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Any:
    """Return a spawn without limits on a machine that has no bubblewrap."""
    with monkeypatch.context() as without:
        without.setattr(Bubblewrap, "lacks", lambda _self: "not installed")
        return machine.node.start(machine.spec(limits=None, **changes))


@pytest.mark.root
@pytest.mark.fuse
@pytest.mark.parametrize("network", ["none", "host"])
def test_both_show_and_allow_the_same(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, network: Network, tmp_path: Path
) -> None:
    facts = []
    for limited in (False, True):
        env = (
            as_runc(machine, monkeypatch, network=network)
            if limited
            else machine.node.start(machine.spec(limits=None, network=network))
        )
        try:
            entry = record.read(own(machine, env))
            assert entry is not None
            assert entry.runtime == ("runc" if limited else "bubblewrap")
            facts.append(seen(machine, env))
        finally:
            machine.node.stop(env.id)
    for what, by_bubblewrap in facts[0].items():
        assert by_bubblewrap == facts[1][what], what


def seen(machine: Machine, env: Environment) -> dict[str, object]:
    """Return what is seen and may be done inside, by process 1 and by a command that joins."""
    first = Path(f"/proc/{env.init_pid}/uid_map").read_text().split()[1]

    def without_own(text: str) -> str:
        return text.replace(env.id, "ID").replace(first, "FIRST")

    def told(script: str) -> str:
        return without_own(machine.sh(env, script).out)

    status = told("cat /proc/self/status")
    initial = without_own(Path(f"/proc/{env.init_pid}/status").read_text())
    return {
        "rights": _rights(status),
        "rights of process 1": _rights(initial),
        "ids": told("cat /proc/self/uid_map /proc/self/gid_map"),
        "limits": told("cat /proc/self/limits"),
        "variables": told("env | sort"),
        "cgroups": told("cat /proc/self/cgroup /proc/1/cgroup"),
        "devices": told("ls -ln /dev | sed 's/ [A-Z][a-z][a-z] .*[0-9] / /' | grep -v mqueue"),
        "descriptors": told(
            "ls /proc/self/fd /proc/1/fd; ls -l /proc/self/fd | cut -d'[' -f1 | cut -c57-"
        ),
        "mounts": _mounts(without_own(Path(f"/proc/{env.init_pid}/mountinfo").read_text())),
        "names": told("hostname; ls / /sys /proc/sys /sys/fs/cgroup /srv"),
        "hidden": told("cat /proc/keys /proc/timer_list; ls /proc/acpi /sys/firmware /sys/fs/fuse"),
        "links of the network": told("ls /sys/class/net; cat /proc/net/dev | wc -l"),
        "not to be written": told(
            "for f in /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /sys/x /sys/fs/cgroup/x"
            " /proc/irq/x /dev/init /etc/hostname; do echo x > $f && echo $f; done 2> /dev/null"
        ),
        "filter of process 1": _answers(env.init_pid),
        "filter of a command": _answers(int(Path(own(machine, env).shell_pid_file).read_text())),
    }


def _rights(status: str) -> str:
    return "\n".join(line for line in status.splitlines() if _RIGHTS.fullmatch(line))


def _mounts(table: str) -> dict[str, tuple[str, ...]]:
    """Return the mounts that are seen, none of those beneath: what of it is there, its kind, its options."""
    mounts = {line.split(" ")[0]: line.split(" ") for line in table.splitlines()}
    below: dict[str, dict[str, str]] = {}
    for number, fields in mounts.items():
        below.setdefault(fields[1], {})[fields[4]] = number
    [top] = [number for number, fields in mounts.items() if fields[1] not in mounts]
    found = {}
    left = [top]
    while left:
        number = left.pop()
        fields = mounts[number]
        on_it = below.get(number, {})
        if fields[4] in on_it:  # another lies right on it
            left.append(on_it[fields[4]])
            continue
        kind = fields[fields.index("-") + 1]
        what = re.sub("/files/.*", "/files", fields[3])
        found[fields[4]] = (what, kind, *sorted(fields[5].split(",")))
        covered = tuple(f"{path}/" for path in on_it)
        left += [each for path, each in on_it.items() if not path.startswith(covered)]
    return found


_ATTACH, _DETACH, _GET_FILTER = 16, 17, 0x420C


def _filter(pid: int) -> bytes:
    """Return the filter of system calls that a process has, as only the machine's root may ask."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(_ATTACH, pid, None, None):
        raise OSError(ctypes.get_errno(), "attach")
    try:
        os.waitpid(pid, 0x40000000)  # __WALL
        count = libc.ptrace(_GET_FILTER, pid, ctypes.c_void_p(0), None)
        if count < 0:
            pytest.skip("this kernel does not tell filters")
        code = ctypes.create_string_buffer(count * 8)
        assert libc.ptrace(_GET_FILTER, pid, ctypes.c_void_p(0), code) == count
        return code.raw
    finally:
        libc.ptrace(_DETACH, pid, None, None)


def _answers(pid: int) -> list[int]:
    code = _filter(pid)
    arguments = ((0, 0), (0x10000000, 0), (40, 0))
    numbers = [*range(600), 0x40000000, 0x40000005, 0x40000300, 0x7FFFFFFF]
    return [
        answer(code, processor, number, *some)
        for processor in (X86_64, X86, 0x40000028, 0xC00000B7)
        for number in numbers
        for some in arguments
    ]


def test_a_restarted_node_joins_with_the_runtime_of_the_record(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed meanwhile does not change what an environment is of."""
    env = as_runc(machine, monkeypatch, network="none")
    try:
        other = machine.another()
        assert machine.sh(env, "echo on").out == "on\n"
        assert [each.state for each in other.all()] == ["running"]
        assert (
            json.loads(Path(own(machine, env).path("config.json")).read_text())["hostname"]
            == "test"
        )
    finally:
        machine.node.stop(env.id)
