"""What users ask of `spawn`, checked against the rules of the node. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from lib9.errors import UsageError
from lib9.sizes import parse_size
from spawngrid.errors import BadWord
from spawngrid.hubtexts.words import check_user_or_node
from spawngrid.settings.rules import Rules

DISK_DEFAULT: Final = "1G"  # of spawndisk, as the original's partitions had
MEMORY_DEFAULT: Final = 512 << 20  # bytes that a node must have free, unless limits say otherwise
SCRATCH_MIN: Final = 16 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,199}(~[0-9]{1,9})?", re.ASCII)
_OPTIONS: Final = ("as", "disk", "ram", "node", "network", "limits", "memory", "cpus", "pids")


def check_name(name: str) -> str:
    """Return `name` if it can be that of a root; BadWord."""
    if not _NAME.fullmatch(name):
        raise BadWord(f"{name[:40]!r} cannot be a name")
    return name


def check_new_name(name: str) -> str:
    """Return `name` if a root may be given it; BadWord for one with a `~`."""
    if "~" in check_name(name):
        raise BadWord(f"{name[:40]!r} means an earlier one: it cannot be given")
    return name


def spawn_options(pairs: Mapping[str, str], rules: Rules) -> dict[str, str]:
    """Return the options that a cpu node needs; BadWord or UsageError for what may not be asked."""
    for attr in pairs:
        if attr not in _OPTIONS:
            raise BadWord(f"{attr}= is no option of spawn")
    options: dict[str, str] = {}
    if "disk" in pairs and "ram" in pairs:
        raise BadWord("disk= or ram=, not both")
    for attr in ("disk", "ram"):
        if attr in pairs:
            options[attr] = str(_within(attr, pairs[attr], SCRATCH_MIN, rules.disk_max))
    network = pairs.get("network", "nat" if "nat" in rules.networks else "none")
    if network not in rules.networks:
        raise BadWord(f"network={network}: this grid gives {', '.join(sorted(rules.networks))}")
    options["network"] = network
    return options | (
        _limits(pairs, rules) if pairs.get("limits") != "none" else _unlimited(pairs, rules)
    )


def _unlimited(pairs: Mapping[str, str], rules: Rules) -> dict[str, str]:
    if not rules.unlimited:
        raise BadWord("limits=none: this grid does not give that")
    for attr in ("memory", "cpus", "pids"):
        if attr in pairs:
            raise BadWord(f"limits=none and {attr}=: one or the other")
    return {"limits": "none"}


def _limits(pairs: Mapping[str, str], rules: Rules) -> dict[str, str]:
    options: dict[str, str] = {}
    if pairs.get("limits", "") not in ("", "none"):
        raise BadWord("limits= takes none only; memory=, cpus= and pids= set them")
    if "memory" in pairs:
        options["memory"] = str(_within("memory", pairs["memory"], 8 << 20, rules.memory_max))
    if "pids" in pairs:
        options["pids"] = str(_within("pids", pairs["pids"], 4, rules.pids_max))
    if "cpus" in pairs:
        try:
            cpus = float(pairs["cpus"])
        except ValueError:
            cpus = 0.0
        if not 0.01 <= cpus <= rules.cpus_max:
            raise BadWord(f"cpus={pairs['cpus']}: 0.01 to {rules.cpus_max:g}")
        options["cpus"] = f"{cpus:g}"
    return options


def alias_of(name: str, pairs: Mapping[str, str]) -> str:
    """Return what the environment will be called: `as=`, or the name as it was asked for."""
    return check_user_or_node(pairs.get("as") or name.replace("~", "-")[:64])


def memory_of(options: Mapping[str, str]) -> int:
    """Return the bytes that a node should have free for this."""
    return int(options.get("memory", MEMORY_DEFAULT)) + int(options.get("ram", 0))


def _within(attr: str, text: str, least: int, most: int) -> int:
    size = parse_size(text)
    if not least <= size <= most:
        raise UsageError(f"{attr}={text}: {least} to {most}")
    return size
