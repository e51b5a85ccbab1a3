"""`tools/install` makes programs that run from where they are installed, and takes all of it away again."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from docs._ext.commands import commands
from tests.conftest import need

TOP = Path(__file__).parents[1]
ENVIRON = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(*words: str | Path) -> str:
    done = subprocess.run(
        words, env=ENVIRON, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def left(prefix: Path) -> list[Path]:
    return [path for path in prefix.rglob("*") if path.is_symlink() or not path.is_dir()]


@pytest.mark.long
def test_installed_brought_up_to_date_and_removed(tmp_path: Path) -> None:
    try:
        socket.getaddrinfo("pypi.org", 443)
    except OSError:
        need("network", present=False, why="no package index to install from")
    for _ in range(2):
        run(TOP / "tools/install", tmp_path)
    names = {path.name for path in (tmp_path / "bin").iterdir()}
    assert names == {command.name for command in commands()}
    for name in sorted(names):
        assert run(tmp_path / "bin" / name, "--version").startswith(name)
    fits = "from lib9.fuse.library import SHIM_SOURCES, shim; print(shim.sources == SHIM_SOURCES)"
    assert run(tmp_path / "lib/spawngrid/bin/python", "-P", "-c", fits) == "True\n"
    units = list((tmp_path / "lib/systemd/system").iterdir())
    assert all(f"ExecStart={tmp_path}/bin/" in unit.read_text() for unit in units)
    assert len(units) == len(list((TOP / "systemd").glob("*.service")))
    run(TOP / "tools/install", "--remove", tmp_path)
    assert left(tmp_path) == []
