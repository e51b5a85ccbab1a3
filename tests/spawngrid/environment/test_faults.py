"""kill -9 of anything, anywhere: after `reconcile` nothing is left that has no owner."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hubfs.shell.places import is_hub_mount
from lib9.errors import SpawngridError
from spawngrid.environment import orders, record, tree
from spawngrid.environment.interface import Limits
from spawngrid.environment.places import Places
from spawngrid.environment.processes import end, start_time
from spawngrid.environment.slots import first_slot
from tests.spawngrid.environment.machine import Machine, wait_until

pytestmark = [pytest.mark.root, pytest.mark.fuse]
_STARTS = ["cgroup", "mounted", "created", "connected", "started", "recorded"]
_OF_BUBBLEWRAP = ["launched", "made", "created", "connected", "started"]
_STOPS = ["killed", "unmounted", "removed"]
_CLIENT = """
import sys
from lib9.faults import arm_kill
from spawngrid.environment.node import Node
run, state, kill_at, what, *words = sys.argv[1:]
node = Node(run, state)
arm_kill(kill_at)
getattr(node, what)(*words)
"""


def places(machine: Machine) -> Places:
    return Places(str(machine.run_directory), str(machine.state))


def killed_client(machine: Machine, kill_at: str, what: str, *words: str) -> None:
    """Let another process do something, and be killed at a fault."""
    directories = [str(machine.run_directory), str(machine.state)]
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, *directories, kill_at, what, *words],
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL


def assert_clean(machine: Machine) -> None:
    wait_until(lambda: is_reconciled(machine))  # who still works on an environment is left alone
    assert machine.node.all() == []
    assert os.listdir(places(machine).runc) == []
    wait_until(lambda: serving(machine) == [])


def is_reconciled(machine: Machine) -> bool:
    machine.node.reconcile()
    return machine.node.orphans() == [] and machine.node.all() == []


def serving(machine: Machine) -> list[str]:
    """Return the processes that serve or are environments of this node."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            groups = Path(f"/proc/{name}/cgroup").read_text()
            words = Path(f"/proc/{name}/cmdline").read_text(errors="replace")
        except OSError:
            continue
        if places(machine).cgroup in groups and start_time(int(name)) is not None:
            found.append(f"{name} {words} {groups}")
    return found


@pytest.mark.parametrize(
    ("point", "limits"),
    [(point, Limits()) for point in _STARTS] + [(point, None) for point in _OF_BUBBLEWRAP],
)
def test_the_start_is_killed(machine: Machine, point: str, limits: Limits | None) -> None:
    orders.end_server(places(machine).keeper)
    broken = machine.another(kill_at=f"start.{point}")
    try:
        with pytest.raises(SpawngridError):
            broken.start(machine.spec(network="nat", limits=limits))
        assert_clean(machine)
    finally:
        orders.end_server(places(machine).keeper)
    with machine.spawned() as env:
        assert machine.sh(env, "echo ok").out == "ok\n"


@pytest.mark.parametrize("point", _STOPS)
def test_the_stop_is_killed(machine: Machine, point: str) -> None:
    env = machine.node.start(machine.spec(network="nat"))
    killed_client(machine, f"stop.{point}", "stop", env.id)
    assert machine.node.orphans() != []
    assert_clean(machine)


@pytest.mark.parametrize("point", ["frozen", "thawed"])
def test_the_save_is_killed(machine: Machine, point: str) -> None:
    with machine.spawned(limits=None) as env:
        machine.sh(env, "echo kept > /file")
        killed_client(machine, f"save.{point}", "save", env.id)
        machine.node.reconcile()
        assert machine.sh(env, "cat /file").out == "kept\n", "it stands still for ever"
        assert machine.stored(machine.node.save(env.id).score, "file") == b"kept\n"


def test_the_client_of_a_start_is_killed(machine: Machine) -> None:
    """The record is there, its lock is free, and nobody works on it."""
    own = places(machine).of("0123456789ab")
    os.mkdir(own.folder, 0o700)
    record.write(own, record.Entry(own.id, machine.spec(), first_slot(places(machine).key), "runc"))
    assert [each.kind for each in machine.node.orphans()] == ["record"]
    assert_clean(machine)


def test_the_file_system_is_killed(machine: Machine) -> None:
    env = machine.node.start(machine.spec())
    running = tree.running(places(machine).of(env.id))
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: machine.node.status(env.id)[0].state == "lost")
    assert_clean(machine)


def test_the_keeper_is_killed(machine: Machine) -> None:
    with machine.spawned() as env:
        pid = orders.server_pid(places(machine).keeper)
        assert pid is not None
        end(pid, start_time(pid) or 0)
        assert machine.sh(env, "echo on").out == "on\n"
        machine.node.reconcile()
        machine.say(env, "echo heard again")
        wait_until(lambda: b"heard again" in machine.hub(env, "io1"))
        with machine.spawned() as another:
            assert machine.sh(another, "echo ok").out == "ok\n"


def test_the_hubs_are_killed(machine: Machine) -> None:
    with machine.spawned() as env:
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"hubfs.cli.hubfs" in words and os.fsencode(env.hubs) in words:
                os.kill(int(name), signal.SIGKILL)
        wait_until(lambda: not is_hub_mount(env.hubs))
        assert machine.sh(env, "echo on").out == "on\n"
        machine.node.reconcile()
        machine.say(env, "echo a new shell")
        wait_until(lambda: b"a new shell" in machine.hub(env, "io1"))
