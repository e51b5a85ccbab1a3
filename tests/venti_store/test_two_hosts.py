"""Two network namespaces as two hosts: a server in one, a client in the other, over a secure stream."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from lib9 import keys
from venti_store.score import BLAKE3
from venti_store.stores.lmdb.environment import create

VENTI = Path(sysconfig.get_path("scripts")) / "venti"
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("ip") is None, reason="ip(8) is not here"),
]


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no network namespaces here: {done.stderr.strip()}")


@pytest.fixture
def hosts():
    """Two hosts with a wire between them: 10.99.0.1 and 10.99.0.2."""
    names = [f"venti-test-{os.getpid()}-{n}" for n in (1, 2)]
    try:
        for name in names:
            ip("netns", "add", name)
        ends = [f"v{os.getpid()}-{n}" for n in (1, 2)]
        ip(
            "link",
            "add",
            ends[0],
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            ends[1],
            "netns",
            names[1],
        )
        for name, end, number in zip(names, ends, (1, 2), strict=True):
            ip("-n", name, "addr", "add", f"10.99.0.{number}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_a_store_on_one_host_and_its_user_on_another(hosts, tmp_path, home):
    create(str(tmp_path / "store"), BLAKE3)
    server, client = (keys.create(str(tmp_path / who / "spawngrid/key")) for who in ("s", "c"))
    address = "noise!10.99.0.1!27034"
    (tmp_path / "s/spawngrid/ndb").write_text(
        f"user=c pubkey={keys.format_key(client.public)} right=venti\n"
    )
    (tmp_path / "c/spawngrid/ndb").write_text(
        f"sys=s dial={address} pubkey={keys.format_key(server.public)}\n"
    )

    def on(host, who, *words):
        environ = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / who)}
        return ["ip", "netns", "exec", host, VENTI, *words], environ

    words, environ = on(hosts[0], "s", "serve", tmp_path / "store", "--listen", "noise!*!27034")
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "noise!*!27034\n"
        data = os.urandom(300_000)
        words, environ = on(hosts[1], "c", "write", "-s", address)
        done = subprocess.run(words, env=environ, input=data, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        score = done.stdout.decode().strip()
        words, environ = on(hosts[1], "c", "read", "-s", address, score)
        assert subprocess.run(words, env=environ, capture_output=True, timeout=60).stdout == data
        process.terminate()
        assert process.wait(20) == 0
