"""Roots and guests that mean harm: only their own environment suffers."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from lib9.errors import UsageError
from spawngrid.environment.cgroups.group import read_layout
from spawngrid.environment.interface import Limits, UnfitRoot
from spawngrid.environment.places import Places
from tests.spawngrid.environment.machine import Machine, busybox, wait_until

pytestmark = [pytest.mark.root, pytest.mark.fuse]
SMALL = Limits(memory_bytes=48 << 20, cpus=0.5, pids=48)


def guest_cgroup(machine: Machine, environment_id: str) -> str:
    return Places(str(machine.run_directory), str(machine.state)).of(environment_id).guest_cgroup


@pytest.mark.parametrize("name", ["proc", "dev", "etc", "srv", "sys", "run"])
def test_a_directory_that_leads_outside(machine: Machine, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = busybox(tmp_path / "root")
    (tree / name).symlink_to(outside)
    with pytest.raises(UnfitRoot, match=f"/{name} in this root"):
        machine.node.start(machine.spec(score=machine.store_root(tree)))
    assert list(outside.iterdir()) == []
    assert machine.node.all() == []


def test_files_that_lead_outside(machine: Machine, tmp_path: Path, limits: Limits | None) -> None:
    """Links to this machine's files lead to places of the root."""
    victim = tmp_path / "victim"
    victim.write_text("this machine's\n")
    tree = busybox(tmp_path / "root")
    (tree / "etc").mkdir()
    for name in ("hostname", "resolv.conf", "machine-id", "spawn.rc"):
        (tree / "etc" / name).symlink_to(victim)
    (tree / "bin/sh").unlink()
    (tree / "bin/sh").symlink_to("/bin/busybox")
    with machine.spawned(limits=limits, score=machine.store_root(tree)) as env:
        assert machine.sh(env, f"cat {victim}").out != "this machine's\n"
        machine.sh(env, f"mkdir -p {victim.parent}; echo changed > {victim}")
    assert victim.read_text() == "this machine's\n"


def test_a_root_without_a_shell(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "root/bin").mkdir(parents=True)
    (tmp_path / "root/bin/sh").symlink_to("/bin/true")
    score = machine.store_root(tmp_path / "root")
    with pytest.raises(UnfitRoot, match="no /bin/sh"):
        machine.node.start(machine.spec(score=score))


def test_set_id_programs_and_devices(
    machine: Machine, tmp_path: Path, limits: Limits | None
) -> None:
    tree = busybox(tmp_path / "root")
    (tree / "suid").mkdir()
    shutil.copy("/bin/busybox", tree / "suid/busybox")
    os.chmod(tree / "suid/busybox", 0o6755)
    os.mknod(tree / "memory", stat.S_IFCHR | 0o666, os.makedev(1, 1))
    os.mknod(tree / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    (tree / "etc").mkdir()
    (tree / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nglenda:x:1000:1000::/:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nglenda:x:1000:\n")
    with machine.spawned(limits=limits, score=machine.store_root(tree)) as env:
        assert "6755" in machine.sh(env, "stat -c %a /suid/busybox").out
        said = machine.sh(env, "start-stop-daemon -S -c glenda:glenda -x /suid/busybox -- id")
        assert "uid=1000" in said.out
        assert "euid=0" not in said.out
        for device in ("memory", "zero"):
            assert "denied" in machine.sh(env, f"dd if=/{device} of=/dev/null count=1").err
        assert machine.sh(env, "mknod /own c 1 5").status != 0
        daemon = Path(f"/proc/{env.init_pid}/root/suid/busybox")
        assert daemon.stat().st_uid >= 0x40000000, "what is root's inside is nobody's here"


def test_a_fork_bomb(machine: Machine) -> None:
    with machine.spawned(limits=SMALL) as bombed, machine.spawned() as other:
        machine.say(bombed, "while :; do sh -c 'f() { f | f & }; f'; done &")
        pids = read_layout().of("pids", guest_cgroup(machine, bombed.id))
        wait_until(lambda: int(Path(f"{pids}/pids.events").read_text().split()[1]) > 9)
        assert machine.sh(other, "echo calm").out == "calm\n"
    assert machine.node.orphans() == []


def test_a_memory_hog(machine: Machine) -> None:
    with machine.spawned(limits=SMALL) as env:
        assert machine.sh(env, "tail /dev/zero").status != 0
        assert machine.sh(env, "dd if=/dev/zero of=/dev/shm/x bs=1M count=63").status != 0
        machine.sh(env, "rm -f /dev/shm/x")
        assert machine.sh(env, "echo alive").out == "alive\n"
        assert machine.node.save(env.id).frozen


def test_a_disk_filler(machine: Machine, limits: Limits | None) -> None:
    with machine.spawned(limits=limits, scratch_bytes=16 << 20) as env:
        told = machine.sh(env, "dd if=/dev/urandom of=/fill bs=1M count=64")
        assert "No space left" in told.err
        for place in ("/srv/x", "/run/x", "/dev/x"):
            assert (
                "No space left" in machine.sh(env, f"dd if=/dev/zero of={place} bs=1M count=99").err
            )
            machine.sh(env, f"rm {place}")
        assert machine.sh(env, "rm /fill && echo room > /note").status == 0
        saved = machine.node.save(env.id)
    assert machine.stored(saved.score, "note") == b"room\n"


def test_a_hub_flooder(machine: Machine) -> None:
    with machine.spawned(limits=None) as flooder, machine.spawned() as other:
        machine.say(
            flooder, "for n in 1 2 3 4; do yes floods > /srv/io1 & done; sleep 1; yes > /srv/io0 &"
        )
        wait_until(lambda: machine.sh(flooder, "ps").out.count("yes") >= 5)
        machine.say(other, "echo I am heard")
        wait_until(lambda: b"I am heard" in machine.hub(other, "io1"))
        assert machine.node.save(other.id).frozen
        assert machine.node.save(flooder.id).score


def test_commands_that_look_like_options(machine: Machine) -> None:
    with machine.spawned() as env:
        for word in ("--version", "-c"):
            with pytest.raises(UsageError):
                machine.run(env, word, "id")
