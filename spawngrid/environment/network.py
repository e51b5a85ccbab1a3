"""A network of an environment's own: a pair of links, one end in it, and the way out by NAT.

From inside, only what is beyond this machine can be reached: not the machine itself, nor other environments.
"""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from spawngrid.environment import slots
from spawngrid.environment.interface import CannotIsolate, StartFailed
from spawngrid.environment.places import Places

_FORWARD: Final = "/proc/sys/net/ipv4/ip_forward"
INSIDE: Final = "eth0"


def ruleset(places: Places) -> str:
    """Return the rules for all of this node's environments, in a form that replaces earlier ones."""
    table, links, net = places.table, f'"{places.link_prefix}*"', slots.network(places.key)
    return f"""table inet {table}
delete table inet {table}
table inet {table} {{
    chain out {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {net} oifname != {links} masquerade
    }}
    chain through {{
        type filter hook forward priority filter; policy accept;
        iifname {links} oifname {links} drop
        iifname {links} ip saddr != {net} drop
        iifname {links} meta nfproto ipv6 drop
        oifname {links} ct state established,related accept
        oifname {links} drop
    }}
    chain machine {{
        type filter hook input priority filter; policy accept;
        iifname {links} ct state established,related accept
        iifname {links} ip protocol icmp accept
        iifname {links} drop
    }}
}}
"""


def prepare(places: Places) -> None:
    """Put the rules in place and let the machine forward; CannotIsolate says what is missing."""
    _run(["nft", "-f", "-"], ruleset(places), CannotIsolate)
    try:
        with open(_FORWARD, encoding="ascii") as file:
            if file.read().strip() == "1":
                return
        with open(_FORWARD, "w", encoding="ascii") as file:
            file.write("1")
    except OSError as error:
        raise CannotIsolate(f"{_FORWARD}: {error.strerror}: no network by NAT") from error


def is_prepared(places: Places) -> bool:
    done = subprocess.run(
        ["nft", "list", "table", "inet", places.table], capture_output=True, check=False
    )
    return done.returncode == 0


def link(places: Places, slot: int) -> str:
    """Return the name of this machine's end."""
    return f"{places.link_prefix}{slot}"


def connect(places: Places, slot: int, init_pid: int) -> str:
    """Give the network of a process a way out; return its address."""
    gateway, address = slots.addresses(slot)
    name = link(places, slot)
    outside = (
        f"link add {name} type veth peer name {INSIDE} netns {init_pid}\n"
        f"addr add {gateway}/30 dev {name}\n"
        f"link set {name} up\n"
    )
    inside = (
        "link set lo up\n"
        f"addr add {address}/30 dev {INSIDE}\n"
        f"link set {INSIDE} up\n"
        f"route add default via {gateway}\n"
    )
    _run(["ip", "-batch", "-"], outside, StartFailed)
    with open(f"/proc/{init_pid}/ns/net", "rb") as namespace:
        enter = ["nsenter", f"--net=/proc/self/fd/{namespace.fileno()}", "ip", "-batch", "-"]
        _run(enter, inside, StartFailed, keep=namespace.fileno())
    return address


def links(places: Places) -> list[int]:
    """Return the slots for which this machine has a link."""
    found = []
    with suppress(OSError):
        for name in os.listdir("/sys/class/net"):
            slot = name.removeprefix(places.link_prefix)
            if slot != name and slot.isdigit():
                found.append(int(slot))
    return found


def disconnect(places: Places, slot: int) -> bool:
    """Remove the link of a slot; tell whether there was one."""
    done = subprocess.run(
        ["ip", "link", "delete", link(places, slot)], capture_output=True, check=False
    )
    return done.returncode == 0


def forget(places: Places) -> None:
    """Remove the rules of all environments."""
    subprocess.run(
        ["nft", "delete", "table", "inet", places.table], capture_output=True, check=False
    )


def _run(
    command: Sequence[str],
    text: str,
    failure: type[CannotIsolate | StartFailed],
    *,
    keep: int | None = None,
) -> None:
    try:
        done = subprocess.run(
            command,
            input=text.encode(),
            capture_output=True,
            check=False,
            pass_fds=() if keep is None else (keep,),
        )
    except FileNotFoundError:
        raise CannotIsolate(f"{command[0]}: not installed: no network by NAT") from None
    if done.returncode:
        said = os.fsdecode(done.stderr).strip().splitlines()
        raise failure(f"{command[0]}: {said[0] if said else 'failed'}")
