from hypothesis import given
from hypothesis import strategies as st

from ndbdb.ipinfo import ipinfo
from ndbdb.parser import parse
from ndbdb.query import Text, lookup, search
from ndbdb.record import Pair
from ndbdb.scan import records_with
from tests.ndbdb import strategies

_small = st.sampled_from(["", "a", "b", "aa", "ab", "'", 'a"', "é"])


@given(strategies.texts, _small, _small)
def test_scanning_finds_what_parsing_everything_finds(text: str, attr: str, value: str) -> None:
    text = text[: text.rfind("\n") + 1]
    pair = Pair(attr, value)
    expected = [record for record in parse(text) if pair in record.pairs()]
    found = list(records_with(text, pair))
    assert found == expected
    assert [record.where for record in found] == [record.where for record in expected]


def test_a_long_attribute_is_found_by_its_cut_name() -> None:
    name = "é" * 16
    [record] = parse(name + "\n")
    [pair] = record.pairs()
    assert list(records_with("x=1\n" + name + "\n", pair)) == [record]
    assert not list(records_with(name + "\n", Pair(name, "")))


def value(text: str, attr: str, val: str, wanted: str) -> str | None:
    found = lookup(search([Text("f", text)], attr, val), wanted)
    return found[1] if found else None


def test_the_line_of_the_match_comes_first() -> None:
    text = "sys=a ip=1\n\tdom=a.x ip=2 ether=e\n\tip=3\n"
    assert value(text, "dom", "a.x", "ip") == "2"
    assert value(text, "ether", "e", "ip") == "2"
    assert value(text, "ether", "e", "sys") == "a"


def test_the_line_is_searched_going_round_from_the_match() -> None:
    text = "ip=1 x=a ip=2 x=b ip=3\n"
    assert value(text, "x", "b", "ip") == "3"
    assert value(text, "x", "a", "ip") == "2"
    assert value(text, "ip", "3", "x") == "a"
    assert value(text, "ip", "2", "ip") == "2"


def test_records_without_the_attribute_are_passed_over() -> None:
    assert value("sys=a\nsys=a ip=2\n", "sys", "a", "ip") == "2"
    assert value("sys=a\nsys=b ip=2\n", "sys", "a", "ip") is None


NET = """
ipnet=wide ip=10.0.0.0 ipmask=255.0.0.0
	fs=widefs dns=10.0.0.53 smtp=widesmtp
ipnet=narrow ip=10.0.1.0 ipmask=/24
	fs=narrowfs auth=narrowauth
ipnet=other ip=10.0.2.0 ipmask=255.255.255.0 fs=otherfs log=otherlog
ipnet=six ip=fd00:: ipmask=/8 fs=sixfs
ipnet=broken ip=nowhere ipmask=what fs=brokenfs
sys=a ip=10.0.1.7 auth=ownauth
sys=six ip=fd00::1
sys=stray ip=192.168.0.1
"""
WANTED = ["auth", "fs", "dns", "log", "ip"]


def info(attr: str, val: str) -> dict[str, str]:
    return ipinfo([Text("f", NET)], attr, val, WANTED)


def test_a_host_inherits_from_the_narrowest_net_that_says_something() -> None:
    expected = {"auth": "ownauth", "fs": "narrowfs", "dns": "10.0.0.53", "ip": "10.0.1.7"}
    assert info("sys", "a") == expected
    assert info("ip", "10.0.1.7") == expected


def test_an_address_without_a_host_still_has_its_nets() -> None:
    assert info("ip", "10.0.2.9") == {
        "fs": "otherfs", "dns": "10.0.0.53", "log": "otherlog", "ip": "10.0.2.0",
    }  # fmt: skip


def test_ipv6_and_hosts_in_no_net() -> None:
    assert info("sys", "six") == {"fs": "sixfs", "ip": "fd00::1"}
    assert info("sys", "stray") == {"ip": "192.168.0.1"}
    assert info("sys", "unknown") == {}
