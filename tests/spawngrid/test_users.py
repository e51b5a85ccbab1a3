"""Users and tokens: who has one comes in once, and only with the key that they hold."""

import string
from pathlib import Path

import pytest

from lib9.errors import UsageError
from lib9.keys import Identity
from spawngrid.client import grids
from spawngrid.errors import BadToken, BadWord
from spawngrid.settings.users import TOKEN_SECONDS, Users


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(str(tmp_path / "ndb"), str(tmp_path / "tokens"))


def enrol(users: Users, secret: str, who: Identity, proven: Identity | None = None, now: int = 10):
    static = (proven or who).channel_keys().public
    return users.enrol(secret, who.public, static, "noise!h!1", now)


def test_a_token_is_good_once(users: Users) -> None:
    secret = users.invite("glenda", node=False, now=10)
    assert [waiting.name for waiting in users.waiting(10)] == ["glenda"]
    glenda = Identity.generate()
    peer = enrol(users, secret, glenda)
    assert (peer.name, peer.user, peer.rights) == ("glenda", True, frozenset(("grid",)))
    found = users.peers().by_channel_key(glenda.channel_keys().public)
    assert found is not None
    assert found == peer
    assert "venti" not in found.rights
    with pytest.raises(BadToken):
        enrol(users, secret, Identity.generate())
    assert users.waiting(10) == []


def test_a_nodes_token(users: Users) -> None:
    peer = enrol(users, users.invite("cpu1", node=True, now=10), Identity.generate())
    assert not peer.user
    assert users.key_of("cpu1") is None
    assert "venti" in peer.rights


def test_only_with_the_key_that_the_channel_proved(users: Users) -> None:
    secret = users.invite("glenda", node=False, now=10)
    with pytest.raises(BadToken, match="not the key"):
        enrol(users, secret, Identity.generate(), proven=Identity.generate())
    enrol(users, secret, Identity.generate())


def test_what_is_no_token(users: Users) -> None:
    secret = users.invite("glenda", node=False, now=10)
    for text in ("", "../tokens", secret[:-1]):
        with pytest.raises(BadToken):
            enrol(users, text, Identity.generate())
    with pytest.raises(BadToken):
        enrol(users, secret, Identity.generate(), now=10 + TOKEN_SECONDS + 1)
    assert not list(users.peers())


def test_one_name_one_key(users: Users) -> None:
    first, second = (users.invite("glenda", node=False, now=10) for _ in range(2))
    glenda = Identity.generate()
    enrol(users, first, glenda)
    with pytest.raises(BadToken, match="there is one already"):
        enrol(users, second, Identity.generate())
    with pytest.raises(BadWord):
        users.invite("glenda", node=False, now=10)
    with pytest.raises(BadToken, match="known already"):
        enrol(users, users.invite("other", node=False, now=10), glenda)


def test_who_is_removed_is_not_known(users: Users) -> None:
    for name in ("glenda", "bob"):
        enrol(users, users.invite(name, node=False, now=10), Identity.generate())
    users.remove("glenda")
    assert [peer.name for peer in users.peers()] == ["bob"]
    with pytest.raises(BadWord):
        users.remove("glenda")


def test_a_token_is_one_word_in_any_shell() -> None:
    public = Identity.generate().public
    token = grids.Token("noise!sto1.example!27034", public, "5ec7e7")
    text = str(token)
    assert set(text) <= set(string.ascii_lowercase + string.digits + ",./")
    assert grids.parse_token(text) == token
    assert grids.parse_token(text.replace(",", "!")) == token
    with pytest.raises(UsageError, match="no token"):
        grids.parse_token(text.rpartition("/")[0])
