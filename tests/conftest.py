"""What every test may use: needs that a machine may lack, and places that are cleaned up."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REQUIRED = set(filter(None, os.environ.get("REQUIRE", "").split(",")))


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
