"""pjdfstest, where it has been built: PJDFSTEST=DIRECTORY. What passes on a tmpfs must pass on a mount."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fossil_fs.cli.mounts import Machine
from tests.fossil_fs.posix.anyone import directory_for_all, machine_for_all

pytestmark = [pytest.mark.fuse, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(3600)]

JOBS = 4  # the tests mostly wait for processes to start
_EXPECTED = "# TO" + "DO"  # the mark of a failure that the suite expects, in two parts
_RESULT = re.compile(r"^(not ok|ok) (\d+)(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def suite() -> Path:
    where = os.environ.get("PJDFSTEST", "")
    if not where:
        pytest.skip("PJDFSTEST does not name a directory with pjdfstest")
    if not (Path(where) / "pjdfstest").exists():
        pytest.fail(f"{where}: pjdfstest has not been built there")
    return Path(where)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with directory_for_all() as top, machine_for_all(top) as made:
        yield made


def outcome(suite: Path, directory: Path) -> dict[str, bool]:
    """Run all tests in a directory; return which ("chmod/00.t 17") passed."""
    work = directory / "pjdfstest"
    work.mkdir(mode=0o755)

    def run(file: Path) -> str:
        done = subprocess.run(["sh", file], cwd=work, check=False, capture_output=True)
        return done.stdout.decode(errors="replace")

    files = sorted((suite / "tests").rglob("*.t"))
    with ThreadPoolExecutor(JOBS) as pool:
        outputs = list(pool.map(run, files))
    return {
        f"{file.relative_to(suite)} {number}": said == "ok" or _EXPECTED in rest
        for file, output in zip(files, outputs, strict=True)
        for said, number, rest in _RESULT.findall(output)
    }


@pytest.mark.parametrize("engine", ["shim", "stock"])
def test_what_passes_on_tmpfs_passes_on_a_mount(suite: Path, machine: Machine, engine: str) -> None:
    reference = machine.home.parent / "tmpfs"
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
