"""A mount whose store is killed and comes back: what is here goes on, the rest fails, nothing hangs."""

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib9.errors import Exit
from tests.fossil_fs.cli.mounts import SCRIPTS, Machine, machine_at, wait_until

pytestmark = [pytest.mark.fuse, pytest.mark.root]
UNIT = 64 << 10


@pytest.fixture
def machine(home: Path) -> Iterator[Machine]:
    with machine_at(home) as made:
        yield made


@contextmanager
def served(store: Path, address: str) -> Iterator["subprocess.Popen[str]"]:
    command = [SCRIPTS / "venti", "serve", "--listen", address, store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline().strip() == address
            yield server
        finally:
            server.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def facts(machine: Machine, point: Path) -> dict[str, str]:
    lines = machine.run("fossil-con", point, "status").stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_store_that_is_killed_and_comes_back(machine: Machine, kind: str) -> None:
    address = f"unix!{machine.home}/venti" if kind == "unix" else f"tcp!127.0.0.1!{free_port()}"
    source = machine.home / "source"
    source.mkdir()
    for n in range(4):
        (source / f"f{n}").write_bytes(os.urandom(20 * UNIT))
    score = machine.run("vac", "-s", str(machine.store), source).stdout.split()[-1]
    point = machine.point("mnt")
    with served(machine.store, address) as server:
        machine.mount(score, point, "--store", address, "--fault-seconds", "2")
        assert (point / "f0").read_bytes() == (source / "f0").read_bytes()
        os.stat(point / "f3")
        (point / "own").write_bytes(b"o" * 5 * UNIT)
        server.send_signal(signal.SIGKILL)
        server.wait()
    assert (point / "f0").read_bytes() == (source / "f0").read_bytes(), "what was read is here"
    assert (point / "own").read_bytes() == b"o" * 5 * UNIT
    (point / "new").write_text("made while it was away")
    began = time.monotonic()
    with pytest.raises(OSError) as failed:
        (point / "f3").read_bytes()
    assert failed.value.errno == errno.EIO
    assert time.monotonic() - began < 45, "readahead may ask several times, nothing hangs"
    machine.run("fossil-con", point, "snap")
    machine.run("fossil-con", point, "sync")
    found = facts(machine, point)
    assert (found["unsaved"], found["safe"], found["snapshots"]) == ("1", "1", "1")
    assert found["venti"].startswith("down since ")
    assert machine.run("fossil-umount", point, status=Exit.UNSAVED).stdout == ""
    with served(machine.store, address):
        wait_until(lambda: is_readable(point / "f3"), 60)
        assert (point / "f3").read_bytes() == (source / "f3").read_bytes()
        new = machine.save(point)
        found = facts(machine, point)
        assert (found["venti"], found["unsaved"], found["score"]) == ("ok", "0", new)
        assert (point / "new").read_text() == "made while it was away"
        machine.run("fossil-con", point, "snapclean", "0")
        machine.run("fossil-umount", point)


def is_readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False
