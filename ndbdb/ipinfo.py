"""What a host has or inherits from the nets around its address. Pure."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from ndbdb.parser import parse
from ndbdb.query import Match, Text, lookup, match, search
from ndbdb.record import Pair, Record


def ipinfo(texts: Sequence[Text], attr: str, value: str, wanted: Iterable[str]) -> dict[str, str]:
    """Return what a host has or inherits: its own record first, then the nets around its `ip`.

    The host is the first record with attr=value that has an `ip` (for attr `ip`, that address,
    known or not). Nets are `ipnet=` records with `ip` and `ipmask`, the narrowest first; the first
    record that has an attribute gives its value.
    """
    host = lookup(search(texts, attr, value), "ip")
    address = host[1] if host else value if attr == "ip" else None
    sources = [host[0]] if host else []
    if address is not None and (number := _address(address)) is not None:
        sources += _nets(texts, number)
    found: dict[str, str] = {}
    for name in wanted:
        if (answer := lookup(sources, name)) is not None:
            found[name] = answer[1]
    return found


def _nets(texts: Iterable[Text], address: IPv4Address | IPv6Address) -> list[Match]:
    nets: list[tuple[int, Match]] = []
    for text in texts:
        for record in parse(text.text, text.file):
            if (name := record.get("ipnet")) is None:
                continue
            width = _encloses(record, address)
            if width is not None:
                nets.append((width, match(record, Pair("ipnet", name))))
    nets.sort(key=lambda net: -net[0])  # stable: of equals the first in the files wins
    return [net for _, net in nets]


def _encloses(record: Record, address: IPv4Address | IPv6Address) -> int | None:
    """Return the prefix length of the net if it holds `address`; a net without a mask is one host."""
    mask = (record.get("ipmask") or "").removeprefix("/")
    ip = record.get("ip")
    try:
        net = ip_network(f"{ip}/{mask}" if mask else f"{ip}", strict=False)
    except ValueError:
        return None
    return net.prefixlen if address in net else None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
