"""The Noise handshake IK and the two ciphers it ends in, without I/O.

Suite: 25519, AESGCM, BLAKE2s. X25519 and the AEAD are OpenSSL's, the hash is hashlib's. The
initiator knows the responder's static key beforehand; the responder learns the initiator's from
the first message.

Source: The Noise Protocol Framework, revision 34; the names here are the specification's.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lib9.errors import LocalProtocolError, RemoteProtocolError
from lib9.framing import Buffer

KEY_SIZE: Final = 32  # bytes, private and public alike
TAG_SIZE: Final = 16  # bytes the AEAD adds
MESSAGE_SIZE_MAX: Final = 65535
NONCE_MAX: Final = (
    2**40 - 1
)  # 2^56 bytes under one key, where the specification sees AESGCM's limit

_NAME: Final = b"Noise_IK_25519_AESGCM_BLAKE2s"
_FALSE: Final = "a message fails its authentication"
_MESSAGES: Final = (("e", "es", "s", "ss"), ("e", "ee", "se"))


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair."""

    private: bytes
    public: bytes

    @classmethod
    def generate(cls) -> Self:
        return cls.of(X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def of(cls, private: bytes) -> Self:
        public = X25519PrivateKey.from_private_bytes(private).public_key()
        return cls(private, public.public_bytes_raw())

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public.hex()})"


class Cipher:
    """One direction of a session: a key, and a nonce that never repeats."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self.nonce = 0  # of the next message

    def encrypt(self, data: Buffer, associated: bytes = b"") -> bytes:
        return self._aead.encrypt(self._take_nonce(), data, associated)

    def encrypt_into(self, out: memoryview, data: Buffer) -> None:
        """Write the ciphertext of `data` to `out`, which is TAG_SIZE longer; no copies are made."""
        assert len(out) == len(data) + TAG_SIZE, "no room for the tag"
        self._aead.encrypt_into(self._take_nonce(), data, None, out)

    def decrypt(self, data: Buffer, associated: bytes = b"") -> bytes:
        """Return the plaintext; RemoteProtocolError unless the peer sent exactly this, here."""
        nonce = self._take_nonce()
        _check_size(data)
        try:
            return self._aead.decrypt(nonce, data, associated)
        except InvalidTag:
            raise RemoteProtocolError(_FALSE) from None

    def decrypt_into(self, out: memoryview, data: Buffer) -> None:
        """Write the plaintext of `data` to `out`, which is TAG_SIZE shorter; raises as `decrypt`."""
        nonce = self._take_nonce()
        _check_size(data)
        assert len(out) == len(data) - TAG_SIZE, "no room for the plaintext"
        try:
            self._aead.decrypt_into(nonce, data, None, out)
        except InvalidTag:
            raise RemoteProtocolError(_FALSE) from None

    def _take_nonce(self) -> bytes:
        if self.nonce > NONCE_MAX:
            raise LocalProtocolError("the nonces of this session are used up")
        nonce = bytes(4) + self.nonce.to_bytes(8, "big")
        self.nonce += 1
        return nonce


class _Symmetric:
    """The specification's SymmetricState: the transcript hash, and the keys derived along it."""

    def __init__(self, prologue: bytes) -> None:
        self.h = _NAME.ljust(32, b"\0") if len(_NAME) <= 32 else _hash(_NAME)
        self._ck = self.h
        self._cipher: Cipher | None = None
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.h = _hash(self.h + data)

    def mix_key(self, material: bytes) -> None:
        self._ck, key = _hkdf(self._ck, material)
        self._cipher = Cipher(key)

    def seal(self, data: bytes) -> bytes:
        out = self._cipher.encrypt(data, self.h) if self._cipher else data
        self.mix_hash(out)
        return out

    def unseal(self, data: bytes) -> bytes:
        out = self._cipher.decrypt(data, self.h) if self._cipher else data
        self.mix_hash(data)
        return out

    def split(self) -> tuple[Cipher, Cipher]:
        first, second = _hkdf(self._ck, b"")
        return Cipher(first), Cipher(second)


class Handshake:
    """One side of a handshake; the initiator writes, then reads; then `split`."""

    def __init__(
        self,
        *,
        static: KeyPair,
        remote_static: bytes | None = None,
        prologue: bytes = b"",
    ) -> None:
        """Begin. With `remote_static`, the responder's public key, this side is the initiator."""
        self.initiator = remote_static is not None
        self.remote_static = remote_static or b""
        self._static = static
        self._ephemeral: KeyPair | None = None
        self._remote_ephemeral = b""
        self._step = 0
        self._symmetric = _Symmetric(prologue)
        self._symmetric.mix_hash(self.remote_static if self.initiator else static.public)

    @property
    def done(self) -> bool:
        return self._step == len(_MESSAGES)

    @property
    def our_turn(self) -> bool:
        return not self.done and (self._step == 0) is self.initiator

    @property
    def hash(self) -> bytes:
        """The transcript hash: equal on both sides, and names this handshake."""
        return self._symmetric.h

    def write(self, payload: bytes = b"", *, ephemeral: KeyPair | None = None) -> bytes:
        """Return the next handshake message; only tests give `ephemeral`."""
        if not self.our_turn:
            raise LocalProtocolError("it is the peer's turn in the handshake")
        out = b""
        for token in _MESSAGES[self._step]:
            if token == "e":
                self._ephemeral = ephemeral or KeyPair.generate()
                out += self._ephemeral.public
                self._symmetric.mix_hash(self._ephemeral.public)
            elif token == "s":
                out += self._symmetric.seal(self._static.public)
            else:
                self._mix_shared(token)
        self._step += 1
        return out + self._symmetric.seal(payload)

    def read(self, message: bytes) -> bytes:
        """Take the peer's next handshake message and return its payload.

        RemoteProtocolError if it was not made for us; the handshake is over then.
        """
        if self.our_turn or self.done:
            raise RemoteProtocolError("a handshake message out of turn")
        for token in _MESSAGES[self._step]:
            if token == "e":
                self._remote_ephemeral, message = _cut(message, KEY_SIZE)
                self._symmetric.mix_hash(self._remote_ephemeral)
            elif token == "s":
                sealed, message = _cut(message, KEY_SIZE + TAG_SIZE)
                self.remote_static = self._symmetric.unseal(sealed)
            else:
                self._mix_shared(token)
        self._step += 1
        return self._symmetric.unseal(message)

    def split(self) -> tuple[Cipher, Cipher]:
        """Return the cipher to send with and the one to receive with."""
        if not self.done:
            raise LocalProtocolError("the handshake is not done")
        first, second = self._symmetric.split()
        return (first, second) if self.initiator else (second, first)

    def _mix_shared(self, token: str) -> None:
        """Mix in the Diffie-Hellman of `token`, whose first letter is the initiator's key."""
        ours, theirs = (token[0], token[1]) if self.initiator else (token[1], token[0])
        key = self._static if ours == "s" else self._ephemeral
        assert key is not None, "the pattern uses an ephemeral key before sending it"
        public = self.remote_static if theirs == "s" else self._remote_ephemeral
        private = X25519PrivateKey.from_private_bytes(key.private)
        try:
            shared = private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise RemoteProtocolError("the peer's key is degenerate") from None
        self._symmetric.mix_key(shared)


def _check_size(data: Buffer) -> None:
    if len(data) < TAG_SIZE:
        raise RemoteProtocolError("a message is too short to be authentic")


def _hash(data: bytes) -> bytes:
    return hashlib.blake2s(data).digest()


def _hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    temp = hmac.digest(chaining_key, material, "blake2s")
    first = hmac.digest(temp, b"\1", "blake2s")
    return first, hmac.digest(temp, first + b"\2", "blake2s")


def _cut(message: bytes, size: int) -> tuple[bytes, bytes]:
    if len(message) < size:
        raise RemoteProtocolError("a handshake message is cut short")
    return message[:size], message[size:]
