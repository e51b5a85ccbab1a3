"""The systemd units are ones that systemd takes, and start what this project installs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from docs._ext.commands import commands
from tests.conftest import need

TOP = Path(__file__).parents[2]
UNITS = sorted((TOP / "systemd").glob("*.service"))


def test_systemd_takes_them(tmp_path: Path) -> None:
    need("systemd", shutil.which("systemd-analyze") is not None, "no systemd-analyze")
    for unit in UNITS:
        text = unit.read_text().replace("/usr/local/bin/", "/usr/bin/env ")
        (tmp_path / unit.name).write_text(text.replace("man:", "https://localhost/"))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    ours = [line for line in done.stderr.splitlines() if "grid-" in line]
    assert ours == [], done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_what_they_start_is_installed(unit: Path) -> None:
    words = next(
        line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")
    ).split("=", 1)[1]
    program, *rest = words.split()
    names = {level.name for command in commands() for level in command.walk()}
    name = " ".join([Path(program).name, *rest[: rest.index("--config")]])
    assert name in names
