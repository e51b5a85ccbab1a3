"""Who is known: as the files are now, and parsed no more often than they change."""

from pathlib import Path

import pytest

from lib9.keys import BadKey, Identity, Peers, format_key
from ndbdb import database
from venti_store.known import KnownPeers

A, B, C = (Identity.generate() for _ in range(3))


def record(name: str, who: Identity) -> str:
    return f"user={name} pubkey={format_key(who.public)} right=grid\n"


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One more each time that records become peers."""
    times: list[None] = []
    of_records = Peers.of_records

    def counted(records):
        times.append(None)
        return of_records(records)

    monkeypatch.setattr(Peers, "of_records", counted)
    return times


def names(known: KnownPeers) -> list[str]:
    return [peer.name for peer in known()]


@pytest.mark.parametrize("settled_ns", [0, 1 << 62])  # files that may be trusted, or not yet
def test_files_are_parsed_when_they_changed(
    tmp_path: Path, parsed: list[None], settled_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_SETTLED_NS", settled_ns)
    file, other = tmp_path / "ndb", tmp_path / "others"
    known = KnownPeers(str(file))
    assert names(known) == names(known) == []
    file.write_text("database= file=ndb file=others\n" + record("a", A))
    for _ in range(5):
        assert names(known) == ["a"]
    assert len(parsed) == 1
    other.write_text(record("bob", B))
    for _ in range(5):
        assert names(known) == ["a", "bob"]
    assert len(parsed) == 2
    with other.open("a") as more:
        more.write(record("c", C))
    assert names(known) == ["a", "bob", "c"]
    new = tmp_path / "new"
    new.write_text(record("bob", C))  # of the same size as what was there at first
    new.replace(other)
    assert known().by_channel_key(C.channel_keys().public).name == "bob"
    other.unlink()
    assert names(known) == ["a"]
    file.unlink()
    assert names(known) == names(known) == []
    assert len(parsed) == 6


def test_a_record_of_no_sense_lets_nobody_in_until_it_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "ndb"
    known = KnownPeers(str(file))
    file.write_text(record("a", A))
    assert names(known) == ["a"]
    file.write_text("user=a pubkey=nonsense\n")
    for _ in range(2):
        with pytest.raises(BadKey):
            known()
    file.write_text(record("a", A))
    assert names(known) == ["a"]
