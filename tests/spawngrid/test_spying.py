"""What another gets to know while glenda works: as a user of the grid, of the machine, and as a guest."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands import environment
from tests.spawngrid import watcher
from tests.spawngrid.conftest import need_grid
from tests.spawngrid.kit import Grid, User, busybox, wait_until

pytestmark = pytest.mark.timeout(300)
STRANGER = 54321  # a user of the machine, in no group
HUBS = ["sto.in", "sto.out", "sto.err", "cpu.in", "cpu.out", "cpu.err", "ctl"]
HUBS += [f"{way}/{user}" for way in ("in", "out") for user in ("glenda", "bob")]


@pytest.fixture
def open_grid() -> Iterator[Grid]:
    """A grid in a place that every user of the machine may enter, as /var/lib is."""
    need_grid()
    home = Path(tempfile.mkdtemp(prefix="spying-"))
    home.chmod(0o755)
    made = Grid(home)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(home)


class Watch:
    """What somebody has got so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", file: Path) -> None:
        self.process = process
        self._file = file

    @property
    def got(self) -> bytes:
        return self._file.read_bytes()

    def rounds(self) -> int:
        return self.got.count(b"\n")


@contextmanager
def watching(out: Path, *places: Path, user: int = 0) -> Iterator[Watch]:
    """Have a user of the machine read all that can be read there."""
    with open(out, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, watcher.__file__, str(user), *map(str, places)],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd="/",
        )
        assert process.stdin is not None
        try:
            yield Watch(process, out)
        finally:
            process.stdin.close()
            process.wait(60)


@contextmanager
def far_mount(user: User, point: Path) -> Iterator[list[Path]]:
    """Mount the hubs of the grid as one of its users may; return the paths of all there are."""
    point.mkdir()
    (user.home / "run").mkdir(mode=0o700, exist_ok=True)
    record = (user.home / "config/spawngrid/ndb").read_text()
    address = next(w for w in record.split() if w.startswith("dial=")).removeprefix("dial=")
    command = ["hubfs", "-r", address, str(point)]
    subprocess.run(command, env=environment(user.variables), check=True, timeout=60)
    try:
        yield [point, *(point / name for name in HUBS)]
    finally:
        subprocess.run(["umount", "-l", str(point)], check=False)


GUEST = """
while [ ! -e /stop ]; do
    for file in /srv/* /run/* /tmp/* /proc/[0-9]*/cmdline /proc/mounts /proc/net/* /sys/fs/cgroup/*/*; do
        echo "$file"; timeout 1 cat "$file" 2>&1 < /dev/null
    done
    ps; ls -lR /srv /run /dev
done
"""


def test_nobody_else_sees_what_she_does(open_grid: Grid, tmp_path: Path) -> None:
    node = open_grid.storage()
    node.start()
    root, env, saved, argument, output = (f"{kind}{secrets.token_hex(6)}" for kind in "rnsao")
    score = node.vac(busybox(tmp_path / "root"))
    node.record("glenda", root, score)
    node.record("bob", "clean", score)
    glenda, bob = (open_grid.user(node, name) for name in ("glenda", "bob"))
    bob("spawn", "clean", "--as", "his", "--network", "none")
    run = Path(node.config.run)
    hubs = [run / "gridsvc" / name for name in HUBS]
    shared = run / "spawngrid/hubs/environments"
    with (
        far_mount(bob, tmp_path / "far") as far,
        watching(tmp_path / "grid-user", *far) as of_grid,
        watching(tmp_path / "stranger", open_grid.home, *hubs, shared, user=STRANGER) as stranger,
        watching(tmp_path / "operator", run / "gridsvc", *hubs, shared) as operator,
        open(tmp_path / "guest", "wb") as said,
        bob.start("run", "his", "sh", "-c", GUEST, stdout=said) as guest,
    ):
        watches = [of_grid, stranger, operator]
        wait_until(
            lambda: all(watch.rounds() for watch in watches) and os.fstat(said.fileno()).st_size
        )
        glenda("spawn", root, "--as", env, "--network", "none")
        assert glenda("run", env, "sh", "-c", f"echo {argument}; cat", stdin=output.encode())
        glenda("run", env, "sh", "-c", f"echo echo {argument}{output} > /srv/io0")
        wait_until(lambda: argument.encode() in operator.got)
        glenda("save", env, saved)
        asked = [bob("scores"), bob("status"), bob("nodes"), bob.refused("where", env)]
        glenda("boom", env)
        before = [watch.rounds() for watch in watches]
        wait_until(lambda: all(w.rounds() > n + 1 for w, n in zip(watches, before, strict=True)))
        bob("run", "his", "touch", "/stop")
        guest.wait(60)
    theirs = {
        "grid user": of_grid.got,
        "stranger": stranger.got,
        "guest": (tmp_path / "guest").read_bytes(),
    }
    theirs["asked"] = "\n".join(asked).replace(env, "").encode()
    for word in (root, env, saved, argument, output):
        for who, got in theirs.items():
            assert word.encode() not in got, f"{who} has seen {word}"
    for word in (root, env, saved, argument):
        assert word.encode() in operator.got, f"it was there to be seen: {word}"
    assert b"cpu sto1 is here" in of_grid.got or b"sto.out" in of_grid.got
    bob("boom", "his")
