"""`grid key`: made once, private, and shown."""

import json
import os
import subprocess
import sysconfig
from pathlib import Path

GRID = Path(sysconfig.get_path("scripts")) / "grid"


def grid(*args):
    return subprocess.run([GRID, *args], capture_output=True, text=True, timeout=30)


def test_a_key_is_made_once_and_shown(home):
    none = grid("key", "show")
    assert none.returncode == 1
    assert "No such file" in none.stderr
    made = grid("key", "new")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("ed25519:")
    path = home / "config/spawngrid/key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert grid("key", "show").stdout == made.stdout
    shown = json.loads(grid("key", "show", "--json").stdout)
    assert shown == {"pubkey": made.stdout.strip(), "file": str(path)}
    again = grid("key", "new")
    assert again.returncode == 1
    assert "File exists" in again.stderr
    assert grid("key", "show").stdout == made.stdout


def test_a_key_that_others_may_read_is_refused(home, tmp_path):
    path = str(tmp_path / "k")
    assert grid("key", "new", "--key", path).returncode == 0
    os.chmod(path, 0o644)
    refused = grid("key", "show", "--key", path)
    assert refused.returncode == 2
    assert "lets others in" in refused.stderr
