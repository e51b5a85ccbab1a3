"""`grid node run`: what ends is started anew, and SIGTERM ends it all."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import environment
from tests.spawngrid.kit import Grid, Node, busybox, wait_until

pytestmark = pytest.mark.timeout(300)
SERVICES = ("node", "stosvc", "cpusvc")


@pytest.fixture
def node(grid: Grid, tmp_path: Path) -> Iterator[Node]:
    made = grid.storage()
    made.record("glenda", "clean", made.vac(busybox(tmp_path / "root")))
    yield made
    made.stop()


def start(node: Node, said: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "spawngrid.cli.grid", "node", "run"]
    with open(said, "wb") as out:
        return subprocess.Popen(
            [*command, "--config", str(node.file)], stdout=out, stderr=out, env=environment()
        )


def test_what_ends_is_started_anew(grid: Grid, node: Node, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with start(node, said) as running:
        try:
            wait_until(lambda: said.read_text().count("started pid") == 3)
            glenda = grid.user(node, "glenda")
            glenda("spawn", "clean", "--as", "e", "--network", "none")
            for service in SERVICES:
                before = node.pid(service)
                os.kill(before, signal.SIGKILL)
                wait_until(
                    lambda service=service, before=before: node.pid(service) not in (0, before)
                )
            assert glenda("run", "e", "hostname") == "e\n"
            wait_until(lambda: said.read_text().count("had ended: started pid") == 3)
            log = Path(node.config.place("log", "node.log"))
            limits = Path(f"/proc/{node.pid('node')}/limits").read_text()
            assert log.exists()
            assert open_files(limits) >= 4096 + 64, "as many connections as it takes"
            glenda("boom", "e")
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0
    assert [node.pid(service) for service in SERVICES] == [0, 0, 0]
    assert said.read_text().endswith("cpusvc\tstopped\nstosvc\tstopped\nnode\tstopped\n")
    assert str(grid.home) not in Path("/proc/self/mountinfo").read_text()


def open_files(limits: str) -> int:
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    return int(line.split()[3])


def test_a_node_that_cannot_start(grid: Grid, tmp_path: Path) -> None:
    node = grid.storage("sto2", stosvc="/no/such/program")
    said = tmp_path / "said"
    with start(node, said) as running:
        assert running.wait(60) == 1
    told = "grid: stosvc did not start: /no/such/program: No such file or directory"
    assert said.read_text().splitlines()[-1] == told
    assert node.pid("node") == 0
