"""An environment from spawn to stop: what is inside, what it is told, what is saved."""

import os
import signal
from pathlib import Path

import pytest

from hubfs.shell.hubs import ShellHubs
from spawngrid.environment.interface import Limits, NoSuchEnvironment, NotRunning, Streams
from tests.spawngrid.environment.machine import Machine, busybox, wait_until

pytestmark = [pytest.mark.root, pytest.mark.fuse]


def test_what_is_inside(machine: Machine, limits: Limits | None) -> None:
    with machine.spawned(limits=limits, name="My Root/1") as env:
        assert machine.sh(env, "hostname; cat /etc/hostname").out == "My-Root-1\n" * 2
        assert machine.sh(env, "id -u; id -g").out == "0\n0\n"
        processes = machine.sh(env, "ls -d /proc/[0-9]*").out.split()
        assert "/proc/1" in processes
        assert len(processes) < 8
        status = machine.sh(env, "cat /proc/self/status").out
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
        bounding = int(status.partition("CapBnd:\t")[2].split()[0], 16)
        assert not bounding & 1 << 21, "CAP_SYS_ADMIN"
        assert len(machine.sh(env, "ls /dev").out.split()) < 20
        assert machine.sh(env, "touch /sys/x || touch /sys/fs/cgroup/x").status != 0
        assert machine.sh(env, "echo 1 > /proc/sys/kernel/domainname").status != 0
        assert machine.sh(env, "unshare -U true").status != 0
        assert machine.sh(env, "mount -t tmpfs none /tmp").status != 0
        own = Path(f"/proc/{env.init_pid}/ns")
        for kind in ("mnt", "pid", "user", "uts", "ipc", "net", "cgroup"):
            assert os.readlink(own / kind) != os.readlink(f"/proc/self/ns/{kind}"), kind
        assert os.stat(f"/proc/{env.init_pid}").st_uid >= 0x40000000


def test_commands_have_their_streams_status_and_variables(
    machine: Machine, limits: Limits | None
) -> None:
    with machine.spawned(limits=limits) as env:
        assert machine.run(env, "cat", stdin=b"through").out == "through"
        told = machine.sh(env, "echo out; echo err >&2; exit 7")
        assert (told.status, told.out, told.err) == (7, "out\n", "err\n")
        assert machine.run(env, "no-such-program").status == 127
        assert machine.run(env, "/bin").status == 126
        assert machine.sh(env, "kill -9 $$").status == 128 + signal.SIGKILL
        assert machine.run(env, "echo", "$(id)", "-n", "a b").out == "$(id) -n a b\n"
        with open("/dev/null") as nothing:
            command = machine.node.run(env.id, ["sleep", "1000"], Streams(*[nothing.fileno()] * 3))
            wait_until(lambda: "sleep" in machine.sh(env, "ps").out)
            command.signal(signal.SIGTERM)
            assert command.wait(60) == 128 + signal.SIGTERM


def test_a_terminal(machine: Machine, limits: Limits | None) -> None:
    with machine.spawned(limits=limits) as env:
        master, slave = os.openpty()
        command = machine.node.run(
            env.id, ["sh", "-c", "tty; stty size"], Streams(slave, slave, slave), terminal=True
        )
        os.close(slave)
        said = b""
        try:
            while b"\n" not in said.partition(b"\n")[2]:
                said += os.read(master, 1024)
            assert command.wait(60) == 0
        finally:
            os.close(master)
        assert said.startswith(b"/dev/")


def test_the_shell_is_a_hub_and_services_are_started(
    machine: Machine, tmp_path: Path, limits: Limits | None
) -> None:
    tree = busybox(tmp_path / "root")
    (tree / "etc").mkdir()
    (tree / "etc/spawn.rc").write_text("echo served > /srv/log\nmark=set-by-services\n")
    with machine.spawned(limits=limits, score=machine.store_root(tree)) as env:
        wait_until(lambda: machine.hub(env, "log") == b"served\n")
        machine.say(env, "echo I am $(hostname) $mark; echo oops >&2")
        wait_until(lambda: b"I am test set-by-services" in machine.hub(env, "io1"))
        wait_until(lambda: b"oops" in machine.hub(env, "io2"))
        machine.say(env, "sleep 1000")
        wait_until(lambda: "sleep 1000" in machine.sh(env, "ps").out)
        ShellHubs(env.hubs, env.shell).send_note("interrupt")
        wait_until(lambda: "sleep 1000" not in machine.sh(env, "ps").out)
        assert machine.sh(env, "echo echo from inside > /srv/io0").status == 0
        wait_until(lambda: b"from inside" in machine.hub(env, "io1"))
        assert machine.sh(env, "cat /srv/io1").status != 0, (
            "a reader could not be stopped for a save"
        )
        machine.say(env, "exit")
        wait_until(lambda: "/bin/sh -i" not in machine.sh(env, "ps").out)
        machine.say(env, "echo shell number $((1 + 1))")  # another hears it
        wait_until(lambda: b"shell number 2" in machine.hub(env, "io1"))
        machine.say(env, "exit")
        wait_until(lambda: "/bin/sh -i" not in machine.sh(env, "ps").out)
        assert machine.node.attach(env.id).state == "running"
        assert "/bin/sh -i" in machine.sh(env, "ps").out


def test_each_spawn_is_a_machine_of_its_own(
    machine: Machine, tmp_path: Path, limits: Limits | None
) -> None:
    tree = busybox(tmp_path / "root")
    (tree / "etc/ssh").mkdir(parents=True)
    for kind in ("rsa", "ed25519"):
        (tree / f"etc/ssh/ssh_host_{kind}_key").write_text("the root's own\n")
        (tree / f"etc/ssh/ssh_host_{kind}_key.pub").write_text("the root's own\n")
    (tree / "etc/machine-id").write_text("0" * 32 + "\n")
    score = machine.store_root(tree)
    seen = []
    for _ in range(2):
        with machine.spawned(limits=limits, score=score) as env:
            ids = machine.sh(env, "cat /etc/machine-id").out
            key = machine.sh(env, "cat /etc/ssh/ssh_host_ed25519_key.pub").out
            assert machine.sh(env, "cat /etc/ssh/ssh_host_rsa_key").out == ""
            assert machine.sh(env, "stat -c %a%u /etc/ssh/ssh_host_ed25519_key").out == "6000\n"
            assert machine.sh(env, "echo x > /etc/machine-id").status != 0
            seen.append((ids, key))
            saved = machine.node.save(env.id)
    assert len({ids for ids, _ in seen}) == len({key for _, key in seen}) == 2
    own = machine.stored(saved.score, "etc/machine-id")
    assert own == b"0" * 32 + b"\n", "what is bound in is never saved"


def test_an_unchanged_root_keeps_its_score_and_a_changed_one_spawns_again(machine: Machine) -> None:
    with machine.spawned() as env:
        first = machine.node.save(env.id)
    with machine.spawned(score=first.score) as env:
        assert machine.node.save(env.id).score == first.score
        script = "mkdir /data && echo kept > /data/file && chown 1000:1000 /data/file"
        assert machine.sh(env, script).status == 0
        saved = machine.node.save(env.id)
        assert saved.frozen
        machine.sh(env, "echo lost > /data/file")
        assert machine.node.status(env.id)[1].unsaved
    with machine.spawned(score=saved.score, scratch_on_disk=True) as env:
        assert (
            machine.sh(env, "cat /data/file; stat -c %u:%g /data/file").out == "kept\n1000:1000\n"
        )


def test_a_save_is_one_moment(machine: Machine, tmp_path: Path, limits: Limits | None) -> None:
    """Each of four writers adds a line to four files in turn: never are two lines apart."""
    writer = "while :; do for f in 1 2 3 4; do echo x >> /w$0-$f; done; done"
    with machine.spawned(limits=limits) as env:
        for number in range(4):
            machine.say(env, f"sh -c '{writer}' {number} &")
        wait_until(lambda: machine.sh(env, "test -s /w3-4").status == 0)
        saves = [machine.node.save(env.id) for _ in range(3)]
    assert all(saved.frozen for saved in saves)
    for count, saved in enumerate(saves):
        root = machine.restored(saved.score, tmp_path / str(count))
        for number in range(4):
            texts = [(root / f"w{number}-{file}").read_bytes() for file in range(1, 5)]
            lines = [text.count(b"\n") for text in texts]
            assert lines == sorted(lines, reverse=True)
            assert lines[0] - lines[3] <= 1


def test_it_outlives_who_started_it_and_is_found_again(
    machine: Machine, limits: Limits | None
) -> None:
    with machine.spawned(limits=limits) as env:
        other = machine.another()
        assert [each.id for each in other.all()] == [env.id]
        found, usage = other.status(env.id)
        assert (found.state, found.spec) == ("running", env.spec)
        wait_until(lambda: (other.status(env.id)[1].pids or 0) >= 2)
        assert usage.memory_bytes
        os.kill(env.init_pid, signal.SIGKILL)
        wait_until(lambda: other.status(env.id)[0].state == "ended")
        with pytest.raises(NotRunning), open("/dev/null") as nothing:
            other.run(env.id, ["true"], Streams(*[nothing.fileno()] * 3))
        assert other.reconcile() == [], "it can still be saved"
        assert other.save(env.id).score.startswith("vac:")
    with pytest.raises(NoSuchEnvironment):
        machine.node.status(env.id)
    with pytest.raises(NoSuchEnvironment):
        machine.node.stop("../../../etc")


def test_a_mount_of_an_environment_is_not_a_place_for_this_machines_users(machine: Machine) -> None:
    with machine.spawned() as env:
        mount = next(
            line
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if env.mount in line
        )
        assert "nosuid,nodev" in mount
        assert os.stat(os.path.dirname(env.mount)).st_mode & 0o777 == 0o700


def test_the_spec_is_checked(machine: Machine) -> None:
    from lib9.errors import UsageError
    from venti_store.errors import NoSuchBlock

    with pytest.raises(NoSuchBlock):
        machine.node.start(machine.spec(score="vac:" + "ab" * 32))
    for wrong in ({"scratch_bytes": 1}, {"name": "a\nb"}, {"name": '"'}):
        with pytest.raises(UsageError):
            machine.node.start(machine.spec(**wrong))
    assert machine.node.all() == []
