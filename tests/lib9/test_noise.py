"""The handshake against published vectors and an independent implementation; what ends it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings
from noise.connection import Keypair, NoiseConnection

from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.noise import NONCE_MAX, TAG_SIZE, Cipher, Handshake, KeyPair

VECTOR = json.loads(
    (Path(__file__).parent.parent / "data/noise/ik-25519-aesgcm-blake2s.json").read_text()
)
US, THEM = KeyPair.generate(), KeyPair.generate()


def pair_of(name):
    return KeyPair.of(bytes.fromhex(VECTOR[name]))


def test_published_vector():
    prologue = bytes.fromhex(VECTOR["init_prologue"])
    remote = bytes.fromhex(VECTOR["init_remote_static"])
    ours = Handshake(static=pair_of("init_static"), remote_static=remote, prologue=prologue)
    theirs = Handshake(static=pair_of("resp_static"), prologue=prologue)
    messages = [
        (bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in VECTOR["messages"]
    ]
    ephemerals = [pair_of("init_ephemeral"), pair_of("resp_ephemeral")]
    ends = [ours, theirs]
    for index, (payload, ciphertext) in enumerate(messages[:2]):
        assert ends[index].write(payload, ephemeral=ephemerals[index]) == ciphertext
        assert ends[1 - index].read(ciphertext) == payload
    assert ours.hash == theirs.hash == bytes.fromhex(VECTOR["handshake_hash"])
    assert theirs.remote_static == pair_of("init_static").public
    ciphers = [ours.split(), theirs.split()]
    for index, (payload, ciphertext) in enumerate(messages[2:]):
        assert ciphers[index % 2][0].encrypt(payload) == ciphertext
        assert ciphers[1 - index % 2][1].decrypt(ciphertext) == payload


@pytest.mark.parametrize("we_initiate", [True, False])
def test_agrees_with_noiseprotocol(we_initiate):
    ours = Handshake(static=US, remote_static=THEM.public if we_initiate else None, prologue=b"p")
    theirs = NoiseConnection.from_name(b"Noise_IK_25519_AESGCM_BLAKE2s")
    theirs.set_prologue(b"p")
    (theirs.set_as_responder if we_initiate else theirs.set_as_initiator)()
    theirs.set_keypair_from_private_bytes(Keypair.STATIC, THEM.private)
    if not we_initiate:
        theirs.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, US.public)
    theirs.start_handshake()
    while not ours.done:
        if ours.our_turn:
            assert bytes(theirs.read_message(ours.write(b"ours"))) == b"ours"
        else:
            assert ours.read(bytes(theirs.write_message(b"theirs"))) == b"theirs"
    assert ours.remote_static == THEM.public
    assert ours.hash == theirs.get_handshake_hash()
    send, receive = ours.split()
    for size in (0, 1, 2, 1000, 65519):
        assert bytes(theirs.decrypt(send.encrypt(b"x" * size))) == b"x" * size
        assert receive.decrypt(bytes(theirs.encrypt(b"y" * size))) == b"y" * size


@given(st.binary(max_size=300), st.binary(max_size=40), st.integers(0, NONCE_MAX))
def test_agrees_with_libsodium(data, associated, nonce):
    key, raw_nonce = bytes(range(32)), bytes(4) + nonce.to_bytes(8, "big")
    ours = Cipher(key)
    ours.nonce = nonce
    sealed = ours.encrypt(data, associated)
    assert sealed == bindings.crypto_aead_aes256gcm_encrypt(data, associated, raw_nonce, key)
    ours.nonce = nonce
    out = memoryview(bytearray(len(data) + TAG_SIZE))
    ours.encrypt_into(out, data)
    plain = bindings.crypto_aead_aes256gcm_decrypt(bytes(out), b"", raw_nonce, key)
    assert plain == data
    assert US.public == bindings.crypto_scalarmult_base(US.private)


def begun():
    ours = Handshake(static=US, remote_static=THEM.public)
    return ours, Handshake(static=THEM), ours.write()


@given(st.data())
def test_no_changed_or_cut_handshake_is_taken(data):
    _, theirs, message = begun()
    if data.draw(st.booleans()):
        at, bit = data.draw(st.integers(0, len(message) - 1)), data.draw(st.integers(0, 7))
        if (at, bit) == (31, 7):
            return  # X25519 ignores the top bit of a point; the transcript does not, tested below
        message = message[:at] + bytes([message[at] ^ 1 << bit]) + message[at + 1 :]
    else:
        message = message[: data.draw(st.integers(0, len(message) - 1))]
    with pytest.raises(RemoteProtocolError):
        theirs.read(message)


def test_the_ignored_bit_of_a_point_is_in_the_transcript():
    _, theirs, message = begun()
    with pytest.raises(RemoteProtocolError, match="authentication"):
        theirs.read(message[:31] + bytes([message[31] ^ 0x80]) + message[32:])


def test_another_responder_cannot_answer():
    _, _, message = begun()
    with pytest.raises(RemoteProtocolError, match="authentication"):
        Handshake(static=KeyPair.generate()).read(message)


@pytest.mark.parametrize("point", [bytes(32), bytes([1]) + bytes(31)])
def test_degenerate_points_are_refused(point):
    _, theirs, message = begun()
    with pytest.raises(RemoteProtocolError, match="degenerate"):
        theirs.read(point + message[32:])


def test_moves_out_of_turn():
    ours, theirs, message = begun()
    with pytest.raises(LocalProtocolError):
        theirs.write()
    with pytest.raises(LocalProtocolError):
        ours.split()
    theirs.read(message)
    with pytest.raises(RemoteProtocolError, match="out of turn"):
        theirs.read(message)
    ours.read(theirs.write())
    with pytest.raises(LocalProtocolError):
        ours.write()


def test_the_last_nonce_and_one_more():
    cipher = Cipher(bytes(32))
    cipher.nonce = NONCE_MAX
    cipher.encrypt(b"")
    with pytest.raises(LocalProtocolError, match="used up"):
        cipher.encrypt(b"")


def test_secrets_are_not_printed():
    assert US.private.hex() not in repr(US)
