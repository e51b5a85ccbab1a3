"""Two network namespaces as two hosts: a server in one, a client in the other, over a secure stream."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.kit.hubs import public_key
from tests.kit.netns import two_hosts
from venti_store.score import BLAKE3
from venti_store.stores.lmdb.environment import create

VENTI = Path(sysconfig.get_path("scripts")) / "venti"
pytestmark = pytest.mark.root


def test_a_store_on_one_host_and_its_user_on_another(tmp_path, home):
    create(str(tmp_path / "store"), BLAKE3)
    with two_hosts(tmp_path) as (server, client):
        address = f"noise!{server.address}!27034"
        server.know(f"user=c pubkey={public_key(client)} right=venti")
        client.know(f"sys=s dial={address} pubkey={public_key(server)}")
        words = server.words(VENTI, "serve", tmp_path / "store", "--listen", "noise!*!27034")
        with subprocess.Popen(
            words, env=server.environ(), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "noise!*!27034\n"
            data = os.urandom(300_000)
            score = client.run(VENTI, "write", "-s", address, stdin=data).stdout.decode().strip()
            assert client.run(VENTI, "read", "-s", address, score).stdout == data
            process.terminate()
            assert process.wait(20) == 0
