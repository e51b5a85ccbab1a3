"""A Debian system, new from the mirror, as an environment."""

import shutil
import sysconfig
import urllib.request
from pathlib import Path

import pytest

from spawngrid.environment.interface import Limits
from tests.commands import run
from tests.conftest import need
from tests.spawngrid.environment.machine import Machine

GRID = Path(sysconfig.get_path("scripts")) / "grid"
pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(1500)]
DEBIAN = "http://deb.debian.org/debian"


def test_a_new_debian_system(machine: Machine, home: Path, tmp_path: Path) -> None:
    """From Debian's mirror to an environment, and what is printed is its score alone."""
    need("grid", shutil.which("debootstrap") is not None, "debootstrap is not installed")
    try:
        urllib.request.urlopen(f"{DEBIAN}/dists/stable/Release", timeout=30).close()
    except OSError as error:
        need("debian", False, f"{DEBIAN}: {error}")
    words = ["--debootstrap", "bookworm", "--mirror", DEBIAN, "--include", "tini"]
    done = run(GRID, "root", "import", *words, "--store", machine.store, seconds=1200)
    assert done.stderr.count(b"I: ") > 100, "what debootstrap says goes to stderr"
    score = done.stdout.decode().removesuffix("\n")
    assert list((home / "state/spawngrid").iterdir()) == []
    with machine.spawned(score=score, limits=Limits(memory_bytes=1 << 30)) as env:
        assert "bookworm" in machine.sh(env, "cat /etc/os-release").out
        assert machine.sh(env, "dpkg --audit; dpkg -s tini").out.startswith("Package: tini")
        assert machine.sh(env, "dpkg -r tini && echo removed").out.endswith("removed\n")
        assert machine.sh(env, "su -c id; echo $?").out != "uid=0\n0\n"
        saved = machine.node.save(env.id)
    with machine.spawned(score=saved.score) as again:
        assert machine.sh(again, "dpkg -s tini; test -e /usr/bin/tini; echo $?").out.endswith("1\n")
