"""What every test may use: needs that a machine may lack, and places that are cleaned up."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from lib9.fuse.interface import ENGINE_VARIABLE, STOCK

REQUIRED = set(filter(None, os.environ.get("REQUIRE", "").split(",")))

_left_mounted: list[str] = []  # lines for the summary: which test, and where


def need(name: str, present: bool, why: str) -> None:
    if present:
        return
    if name in REQUIRED:
        pytest.fail(f"REQUIRE={name}, but {why}")
    pytest.skip(why)


def _has_fuse() -> bool:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return True


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root"):
        need("root", os.geteuid() == 0, "not root")
    if request.node.get_closest_marker("fuse"):
        need("fuse", _has_fuse(), "no usable /dev/fuse")
    lacks = request.node.get_closest_marker("shim")
    if lacks is not None and os.environ.get(ENGINE_VARIABLE) == STOCK:
        pytest.skip(f"stock pyfuse3 has no {lacks.args[0]}")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own: stores, names, caches, scratches and running things all lie below it."""
    for name, folder in {
        "XDG_DATA_HOME": "data",
        "XDG_STATE_HOME": "state",
        "XDG_CACHE_HOME": "cache",
        "XDG_CONFIG_HOME": "config",
        "XDG_RUNTIME_DIR": "run",
    }.items():
        (tmp_path / folder).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("venti", raising=False)
    return tmp_path


@pytest.fixture
def mount_point(tmp_path: Path) -> Iterator[Path]:
    """An empty directory to mount on; whatever is mounted there is gone after the test."""
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    for _ in range(8):  # mounts may be stacked
        if str(path).encode() not in Path("/proc/self/mountinfo").read_bytes():
            break
        subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


def mounts_below(folder: Path) -> list[str]:
    """Return what is mounted below `folder`, the newest first."""
    below = f"{folder}/"
    places = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    names = (re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), place) for place in places)
    return [name for name in names if name.startswith(below)][::-1]


def _detach(places: Iterable[str]) -> None:
    for place in places:
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)


@pytest.fixture(autouse=True)
def _nothing_stays_mounted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test leaves mounted is detached, and the summary names the test."""
    yield
    if (folder := request.node.funcargs.get("tmp_path")) and (left := mounts_below(folder)):
        _detach(left)
        _left_mounted.append(f"{request.node.nodeid} left {', '.join(left)}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Detach what sessions that were killed left mounted, or removing their folders fails."""
    worker = getattr(session.config, "workeroutput", None)
    if worker is not None:
        worker["left_mounted"] = _left_mounted
        return
    here = session.config._tmp_path_factory.getbasetemp()
    for folder in here.parent.iterdir():
        over = folder == here or not (folder / ".lock").exists()
        if folder.is_dir() and not folder.is_symlink() and over:
            _detach(mounts_below(folder))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    _left_mounted.extend(getattr(node, "workeroutput", {}).get("left_mounted", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _left_mounted:
        terminalreporter.write_line(line, yellow=True)
