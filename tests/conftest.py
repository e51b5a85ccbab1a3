"""What every test may use: needs that a machine may lack, and places that are cleaned up."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from lib9.fuse import mounts
from lib9.fuse.errors import NotMounted
from lib9.fuse.options import ENGINE_VARIABLE, STOCK
from tests.kit import guard
from tests.kit.mounts import mounts_below

# how long an example takes says how busy the machine is
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# a run in the background of a script has SIGINT ignored, and so would all that it starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


def _detach(folder: Path) -> list[str]:
    """Detach what is mounted below a folder, and let what waits there fail; return the places."""
    found = mounts_below(folder)[::-1]  # the newest first
    for mount in found:
        if mount.is_fuse:
            with suppress(OSError, NotMounted):  # it has ended meanwhile
                mounts.abort(mount.minor)
        subprocess.run(["umount", "-l", mount.point], check=False, capture_output=True)
    return [os.fsdecode(mount.point) for mount in found]


_guard_key = pytest.StashKey[guard.Guard]()


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Beside the timer proper, whose alarm does not reach a process that waits for a daemon."""
    item.stash[_guard_key] = guard.Guard(settings.timeout)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> None:
    if _guard_key in item.stash:
        item.stash[_guard_key].cancel()
        del item.stash[_guard_key]


@pytest.fixture(autouse=True, scope="session")
def _watched(tmp_path_factory: pytest.TempPathFactory) -> None:
    guard.watch(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def _nothing_stays_mounted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test leaves mounted is detached, and the summary names the test."""
    yield
    if (folder := request.node.funcargs.get("tmp_path")) and (left := _detach(folder)):
        _left_mounted.append(f"{request.node.nodeid} left {', '.join(left)}")


def _is_over(folder: Path) -> bool:
    """Tell whether the session that made a folder has ended: pytest's lock names its process."""
    try:
        return not Path("/proc", (folder / ".lock").read_text()).exists()
    except FileNotFoundError:
        return True


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Detach what sessions that were killed left mounted, or removing their folders fails."""
    worker = getattr(session.config, "workeroutput", None)
    if worker is not None:
        worker["left_mounted"] = _left_mounted
        return
    here = session.config._tmp_path_factory.getbasetemp()
    for folder in here.parent.iterdir():
        if folder.is_dir() and not folder.is_symlink() and (folder == here or _is_over(folder)):
            _detach(folder)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    _left_mounted.extend(getattr(node, "workeroutput", {}).get("left_mounted", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _left_mounted:
        terminalreporter.write_line(line, yellow=True)
