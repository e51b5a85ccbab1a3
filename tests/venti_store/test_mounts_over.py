"""Real mounts over each kind of address; two mounts with one cache."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from lib9 import keys
from tests.kit.mounts import take_down
from tests.venti_store.test_serve import Server, settle, use
from venti_store.score import BLAKE3
from venti_store.stores.lmdb.environment import create

BIN = Path(sysconfig.get_path("scripts"))
pytestmark = pytest.mark.fuse
CAP = 64 << 20


def run(name, *args):
    done = subprocess.run([BIN / name, *map(str, args)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def contents(top):
    return {
        str(path.relative_to(top)): path.read_bytes()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def archive(tmp_path, home):
    """A store, the score of a tree in it, and what the tree holds."""
    top = tmp_path / "tree"
    for n in range(40):
        (top / f"{n // 8}/{n}").mkdir(parents=True)
        (top / f"{n // 8}/{n}/small").write_text(f"{n}\n")
        (top / f"{n // 8}/{n}/large").write_bytes(os.urandom(100_000))
    create(str(tmp_path / "store"), BLAKE3)
    score = run("vac", "-s", tmp_path / "store", top).split()[-1]
    return tmp_path / "store", score, contents(top)


@pytest.fixture
def mounted(tmp_path, home):
    """Mounts a score from an address; everything is unmounted after the test."""
    points = []

    def mount(address, score):
        points.append(tmp_path / f"mnt{len(points)}")
        points[-1].mkdir()
        run("fossil-mount", "-s", address, score, points[-1])
        return points[-1]

    try:
        yield mount
        for point in points:
            subprocess.run([BIN / "fossil-umount", point], capture_output=True, timeout=60)
    finally:
        take_down(tmp_path)


@pytest.mark.parametrize("network", ["unix", "tcp", "noise", "cached"])
def test_a_mount_over_each_kind_of_address(archive, mounted, tmp_path, home, monkeypatch, network):
    store, score, wanted = archive
    listen = {"noise": "noise!127.0.0.1!0", "unix": f"unix!{tmp_path}/venti"}
    record = settle(home, ("glenda", "right=venti"))
    options = ("--key", home / "server/key", "--peers", home / "server/ndb")
    server = Server(store, "--listen", listen.get(network, "tcp!127.0.0.1!0"), *options)
    try:
        [address] = server.addresses
        use(home, "glenda", record, address)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "glenda"))
        assert keys.load(str(home / "glenda/spawngrid/key"))
        top = mounted(f"cached!{address}" if network == "cached" else address, score)
        assert contents(top) == wanted
        (top / "new").write_text("written here\n")
        saved = run("fossil-save", top).split()[-1]
        again = mounted(str(store), saved)
        assert contents(again) == wanted | {"new": b"written here\n"}
    finally:
        server.end()


def test_two_mounts_share_a_cache_that_outlives_the_server(archive, mounted, home):
    store, score, wanted = archive
    server = Server(store, "--listen", "tcp!127.0.0.1!0")
    address = f"cached!64M!{server.addresses[0]}"
    first, second = mounted(address, score), mounted(address, score)
    assert contents(first) == wanted
    server.end()
    # not one block of what the first has read is fetched again: there is nobody to fetch it from
    assert contents(second) == wanted
    cache = home / "cache/venti"
    taken = sum(path.lstat().st_blocks * 512 for path in [cache, *cache.iterdir()])
    assert 40 * 100_000 < taken <= CAP
