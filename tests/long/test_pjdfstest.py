"""pjdfstest, where it has been built: PJDFSTEST=DIRECTORY. What passes on a tmpfs must pass on a mount."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fossil_fs.cli.mounts import Machine, machine_at

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(3600)]

JOBS = 4  # the tests mostly wait for processes to start
_RESULT = re.compile(r"^(not ok|ok) (\d+)(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def suite() -> Path:
    where = os.environ.get("PJDFSTEST", "")
    if not where:
        pytest.skip("PJDFSTEST does not name a directory with pjdfstest")
    if not (Path(where) / "pjdfstest").exists():
        pytest.fail(f"{where}: pjdfstest has not been built there")
    if shutil.which("prove") is None:
        pytest.skip("no prove (Debian: perl)")
    return Path(where)


@pytest.fixture
def machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with TemporaryDirectory(prefix="spawngrid-pjd-") as place:
        os.chmod(place, 0o711)
        (Path(place) / "home").mkdir(mode=0o711)
        with machine_at(Path(place) / "home") as made:
            made.home = home  # where the commands keep what they keep
            yield made


def outcome(suite: Path, directory: Path) -> dict[str, bool]:
    """Run all tests in a directory; return which ("chmod/00.t 17") passed."""
    work = directory / "pjdfstest"
    work.mkdir(mode=0o755)
    with TemporaryDirectory() as archive:
        subprocess.run(
            ["prove", "-r", "-Q", "-j", str(JOBS), "-a", archive, suite / "tests"],
            cwd=work,
            check=False,
            capture_output=True,
        )
        return {
            f"{file.relative_to(archive)} {number}": said == "ok" or "# TODO" in rest
            for file in Path(archive).rglob("*.t")
            for said, number, rest in _RESULT.findall(file.read_text(errors="replace"))
        }


@pytest.mark.parametrize("engine", ["shim", "stock"])
def test_what_passes_on_tmpfs_passes_on_a_mount(
    suite: Path, machine: Machine, tmp_path: Path, engine: str
) -> None:
    reference = tmp_path / "tmpfs"
    reference.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "pjdfstest", reference], check=True)
    try:
        expected = outcome(suite, reference)
    finally:
        subprocess.run(["umount", reference], check=True)
    assert sum(expected.values()) > 8000
    point = machine.point("mnt")
    if engine == "shim":
        machine.mount(machine.root, point, "--allow-other")
    else:
        mount_with_stock_engine(machine.root, point)
    point.chmod(0o755)
    found = outcome(suite, point)
    failed = [test for test, passed in expected.items() if passed and not found.get(test)]
    assert failed == []


def mount_with_stock_engine(tree: str, point: Path) -> None:
    """fossil-mount as it is where the extension module could not be built."""
    script = (
        "import lib9.fuse.session as s; s.shim = None\n"
        "from fossil_fs.cli.mount import run; raise SystemExit(run())"
    )
    command = [sys.executable, "-c", script, "--allow-other", tree, str(point)]
    subprocess.run(command, check=True)
