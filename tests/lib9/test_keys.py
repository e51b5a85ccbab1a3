"""Identities, their files and who is known; everything unsound is refused."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from lib9 import keys
from lib9.keys import BadKey, Identity, Peer, Peers
from lib9.noise import KeyPair


def test_one_seed_gives_the_same_keys_and_signatures():
    one, two = Identity.of(bytes(32)), Identity.of(bytes(32))
    # RFC 8032 gives the algorithm; the value is the well-known public key of the all-zero seed
    assert one.public.hex() == "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
    assert one.sign(b"x") == two.sign(b"x") == SigningKey(bytes(32)).sign(b"x").signature
    assert one.channel_keys() == KeyPair.of(one.channel_keys().private)
    assert one.channel_keys().public == keys.channel_key(one.public)


def test_secrets_are_not_printed():
    identity = Identity.generate()
    assert identity.seed.hex() not in repr(identity) + repr(identity.channel_keys())


@given(st.binary(max_size=50), st.integers(0, 63), st.integers(1, 255))
def test_signatures_hold_for_one_text_and_one_key(data, at, change):
    identity = Identity.of(bytes(range(32)))
    signature = identity.sign(data)
    assert keys.verify(identity.public, data, signature)
    assert not keys.verify(identity.public, data + b"x", signature)
    assert not keys.verify(Identity.of(bytes(32)).public, data, signature)
    changed = bytearray(signature)
    changed[at] ^= change
    assert not keys.verify(identity.public, data, bytes(changed))
    assert not keys.verify(identity.public, data, signature[:-1])
    assert not keys.verify(identity.public, data, b"")


def test_key_text():
    public = Identity.generate().public
    text = keys.format_key(public)
    assert keys.parse_key(text) == public
    bad = "ed25519:" + "00" * 31
    for wrong in ("", text[8:], text + "00", text[:-2], "ed25519:" + "zz" * 32, bad, text + " "):
        with pytest.raises(BadKey):
            keys.parse_key(wrong)
    with pytest.raises(BadKey, match="not a point"):
        keys.parse_key("ed25519:" + "02" + "00" * 31)


def test_a_key_file_is_made_once_and_private(tmp_path):
    path = str(tmp_path / "a" / "key")
    identity = keys.create(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "a").st_mode & 0o777 == 0o700
    assert keys.load(path) == identity
    with pytest.raises(FileExistsError):
        keys.create(path)
    with pytest.raises(FileNotFoundError):
        keys.load(path + "x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_file_that_others_may_touch_is_refused(tmp_path, mode):
    path = str(tmp_path / "key")
    keys.create(path)
    os.chmod(path, mode)
    with pytest.raises(BadKey, match="lets others in"):
        keys.load(path)


@pytest.mark.root
def test_a_key_file_of_another_user_is_refused(tmp_path):
    path = str(tmp_path / "key")
    keys.create(path)
    os.chown(path, 12345, -1)
    with pytest.raises(BadKey, match="belongs to user 12345"):
        keys.load(path)


def test_damaged_key_files(tmp_path):
    path = tmp_path / "key"
    keys.create(str(path))
    good = path.read_text()
    for text in (
        "",
        "seed=00",
        good.replace("seed=", "seed=" + "0"),
        "\xff",
        good.replace("key=", "k="),
    ):
        path.write_text(text)
        with pytest.raises(BadKey, match="holds no key"):
            keys.load(str(path))
    other = Identity.generate()
    path.write_text(f"key={keys.format_key(other.public)} {good.split()[1]}\n")
    with pytest.raises(BadKey, match="do not belong together"):
        keys.load(str(path))
    with pytest.raises(BadKey, match="not a regular file"):
        keys.load(str(tmp_path))


A, B = Identity.of(b"a" * 32), Identity.of(b"b" * 32)
KEY_A, KEY_B = keys.format_key(A.public), keys.format_key(B.public)


def test_peers_are_found_by_key_name_and_address():
    peers = Peers.of_records(
        [
            [("sys", "sto1"), ("dial", "noise!10.0.0.1!27034"), ("dial", "noise!sto1!27034"),
             ("pubkey", KEY_A), ("right", "venti"), ("right", "hub")],
            [("user", "glenda"), ("pubkey", KEY_B)],
            [("sys", "keyless"), ("ip", "10.0.0.3")],
        ]
    )  # fmt: skip
    sto1 = Peer("sto1", False, A.public, ("noise!10.0.0.1!27034", "noise!sto1!27034"),
                frozenset({"venti", "hub"}))  # fmt: skip
    assert peers.by_channel_key(A.channel_keys().public) == sto1
    assert peers.by_name("sto1") == peers.by_dial("noise!sto1!27034") == sto1
    glenda = peers.by_channel_key(B.channel_keys().public)
    assert glenda == Peer("glenda", True, B.public)
    assert list(peers) == [sto1, glenda]
    assert peers.by_channel_key(bytes(32)) is peers.by_name("x") is peers.by_dial("x") is None


@pytest.mark.parametrize(
    "records",
    [
        [[("pubkey", KEY_A)]],
        [[("sys", ""), ("pubkey", KEY_A)]],
        [[("sys", "a"), ("user", "b"), ("pubkey", KEY_A)]],
        [[("sys", "a"), ("pubkey", KEY_A), ("pubkey", KEY_B)]],
        [[("sys", "a"), ("pubkey", "x")]],
        [[("sys", "a"), ("pubkey", KEY_A)], [("sys", "b"), ("pubkey", KEY_A)]],
        [[("sys", "a"), ("pubkey", KEY_A)], [("sys", "a"), ("pubkey", KEY_B)]],
        [[("sys", n), ("dial", "d"), ("pubkey", k)] for n, k in (("a", KEY_A), ("b", KEY_B))],
    ],
)
def test_unsound_records_of_peers(records):
    with pytest.raises(BadKey):
        Peers.of_records(records)


def test_two_keys_of_one_channel_key_are_not_two_peers():
    # the point of opposite sign: the same X25519 key, another Ed25519 one
    mirrored = A.public[:-1] + bytes([A.public[-1] ^ 0x80])
    assert keys.channel_key(mirrored) == keys.channel_key(A.public)
    with pytest.raises(BadKey, match="same key"):
        Peers([Peer("a", False, A.public), Peer("m", True, mirrored)])
