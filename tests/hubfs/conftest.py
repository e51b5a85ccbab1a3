"""Hub mounts as real processes, taken down whatever state they are in."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import environment, is_mounted, run


@pytest.fixture
def hubs(tmp_path: Path, home: Path) -> Iterator[Path]:
    """A mounted hub file system."""
    point = tmp_path / "hubs"
    point.mkdir()
    run("hubfs", point)
    yield point
    take_down(point)


def take_down(point: Path) -> None:
    """End a hub mount by force: what waits on it fails."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[4] == str(point):
            minor = fields[2].split(":")[1]
            control = Path(f"/sys/fs/fuse/connections/{minor}/abort")
            if control.exists():
                control.write_text("1")
            subprocess.run(["umount", "-l", str(point)], check=False, env=environment())
    assert not is_mounted(point)


def hub_processes_of(home: Path) -> list[int]:
    """Processes whose home is `home`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"HOME=" + os.fsencode(home) in variables:
                found.append(int(folder.name))
    return found
