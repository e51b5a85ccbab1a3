"""The original's start of an environment, with our commands: its shell is a hub, its root a score."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.commands import environment, output, run, vac
from tests.conftest import need
from tests.kit.mounts import take_down
from tests.spawngrid.kit import EXAMPLES, busybox, wait_until

pytestmark = [pytest.mark.fuse, pytest.mark.root]


@pytest.fixture
def score(home: Path, tmp_path: Path) -> str:
    need("grid", shutil.which("busybox") is not None, "busybox is not installed")
    tree = busybox(tmp_path / "root")
    (tree / "proc").mkdir()
    (tree / "etc" / "spawn.rc").write_text("echo served by $(hostname) > /etc/served\n")
    return vac(tree)


@pytest.fixture
def srv(score: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    path = Path(
        output("sh", EXAMPLES / "fetchroot.sh", score, "env1", f"unix!{tmp_path}/env1.sock")
    )
    try:
        yield path
    finally:
        with suppress(OSError):
            (path / "h" / "io0").write_text("exit\n")
            wait_until(lambda: not (path / "h" / "io0").exists())
        take_down(path / "h")
        subprocess.run(
            ["fossil-umount", "--discard", path / "boot"], env=environment(), check=False
        )
        take_down(path / "boot")


def reads(hub: Path, text: str) -> bool:
    descriptor = os.open(hub, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return text.encode() in os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def test_commands_echoed_into_the_hub_run_inside(srv: Path, tmp_path: Path) -> None:
    with open(srv / "h/io0", "ab", buffering=0) as hub:
        hub.write(b"ls / > /etc/seen; echo it is $((6 * 7)) in $(hostname) as $$\n")
    wait_until(lambda: reads(srv / "h/io1", "it is 42 in env1 as 1"))
    assert (srv / "boot/etc/served").read_text() == "served by env1\n"
    assert (srv / "boot/etc/seen").read_text().split() == ["bin", "etc", "proc", "root"]
    far = tmp_path / "far"
    far.mkdir()
    run("hubfs", "-r", f"unix!{tmp_path}/env1.sock", far)
    try:
        with open(far / "io0", "ab", buffering=0) as hub:
            hub.write(b"echo from far away\n")
        wait_until(lambda: reads(srv / "h/io1", "from far away"))
    finally:
        take_down(far)
