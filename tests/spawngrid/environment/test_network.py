"""Networks of environments: out by NAT, and nowhere else."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from spawngrid.environment.interface import Limits
from tests.spawngrid.environment.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.fuse]
OUTSIDE = "sgtest-outside"
_SERVER = """
import socket, sys
s = socket.create_server(("0.0.0.0", 7777))
print("ready", flush=True)
while True:
    c, peer = s.accept()
    c.sendall(f"you are {peer[0]}\\n".encode())
    c.close()
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def outside() -> Iterator[str]:
    """Another machine, 198.51.100.2, reached over a link of this one's; it tells who connects."""
    ip("netns", "add", OUTSIDE)
    server = None
    try:
        ip("link", "add", "sgtest0", "type", "veth", "peer", "name", "up0", "netns", OUTSIDE)
        ip("addr", "add", "198.51.100.1/24", "dev", "sgtest0")
        ip("link", "set", "sgtest0", "up")
        ip("-n", OUTSIDE, "addr", "add", "198.51.100.2/24", "dev", "up0")
        ip("-n", OUTSIDE, "link", "set", "up0", "up")
        words = ["nsenter", f"--net=/run/netns/{OUTSIDE}", sys.executable, "-c", _SERVER]
        server = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield "198.51.100.2"
    finally:
        if server is not None:
            server.kill()
            server.wait()
            server.stdout.close()  # type: ignore[union-attr]
        subprocess.run(["ip", "link", "delete", "sgtest0"], check=False, capture_output=True)
        ip("netns", "delete", OUTSIDE)


def test_nat_leads_out_and_nowhere_else(machine: Machine, outside: str) -> None:
    with (
        machine.spawned(network="nat") as one,
        machine.spawned(network="nat", limits=None) as two,
    ):
        assert machine.sh(one, f"nc -w 20 {outside} 7777").out == "you are 198.51.100.1\n"
        machine.say(two, "nc -l -p 9 -e echo reached & ")
        refused = machine.sh(one, f"nc -w 1 {two.address} 9")
        assert (refused.status != 0, refused.out) == (True, "")
        server = subprocess.Popen(
            [sys.executable, "-c", _SERVER.replace("7777", "7778")], stdout=subprocess.PIPE
        )
        try:
            assert server.stdout is not None
            server.stdout.readline()
            for own in (one.address.rpartition(".")[0] + ".1", "198.51.100.1"):
                assert machine.sh(one, f"nc -w 1 {own} 7778").out == "", "this machine's services"
        finally:
            server.kill()
            server.wait()
            server.stdout.close()  # type: ignore[union-attr]
        assert machine.sh(two, f"nc -w 20 {outside} 7777").out == "you are 198.51.100.1\n"
        for own in (one, two):
            assert own.address in machine.sh(own, "ip addr; cat /etc/hosts").out


def test_no_network_has_loopback_alone(
    machine: Machine, outside: str, limits: Limits | None
) -> None:
    with machine.spawned(limits=limits, network="none") as env:
        assert machine.sh(env, "ls /sys/class/net").out == "lo\n"
        assert machine.sh(env, f"nc -w 1 {outside} 7777").status != 0


def test_the_machines_own_network(machine: Machine, outside: str, limits: Limits | None) -> None:
    with machine.spawned(limits=limits, network="host") as env:
        assert machine.sh(env, f"nc -w 20 {outside} 7777").out == "you are 198.51.100.1\n"
        assert machine.sh(env, "ip link add x type dummy").status != 0
        assert machine.sh(env, "touch /sys/x; echo 1 > /sys/kernel/profiling").status != 0
