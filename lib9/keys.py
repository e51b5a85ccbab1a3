"""Identities and whom they may ask what: one Ed25519 seed per node or user, peers by public key.

The X25519 key of the Noise channel is derived from the same seed, so a public key is the whole
name of a peer: it checks signatures and proves who is at the other end. Key files are 0600.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from nacl import bindings, exceptions

from lib9.errors import Exit, SpawngridError
from lib9.noise import KeyPair

SEED_SIZE: Final = 32
PUBLIC_SIZE: Final = 32
_PREFIX: Final = "ed25519:"
_FILE_SIZE_MAX: Final = 4096


class BadKey(SpawngridError):
    """A key, a key file or a record of keys that cannot be used; the text says which and why."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Identity:
    """A node or a user that holds its secret."""

    seed: bytes
    public: bytes  # Ed25519

    @classmethod
    def generate(cls) -> Self:
        return cls.of(bindings.randombytes(SEED_SIZE))

    @classmethod
    def of(cls, seed: bytes) -> Self:
        public, _ = bindings.crypto_sign_seed_keypair(seed)
        return cls(seed, public)

    def __repr__(self) -> str:
        return f"Identity({format_key(self.public)})"

    def channel_keys(self) -> KeyPair:
        """Return the X25519 pair for Noise channels."""
        _, secret = bindings.crypto_sign_seed_keypair(self.seed)
        return KeyPair.of(bindings.crypto_sign_ed25519_sk_to_curve25519(secret))

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`, 64 bytes; the same data gives the same signature."""
        _, secret = bindings.crypto_sign_seed_keypair(self.seed)
        return bindings.crypto_sign(data, secret)[: bindings.crypto_sign_BYTES]


def verify(public: bytes, data: bytes, signature: bytes) -> bool:
    """Tell whether the holder of `public` signed `data`."""
    if len(signature) != bindings.crypto_sign_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + data, public)
    except exceptions.BadSignatureError:
        return False
    return True


def channel_key(public: bytes) -> bytes:
    """Return the X25519 public key that belongs to an Ed25519 one; BadKey if it is none."""
    try:
        return bindings.crypto_sign_ed25519_pk_to_curve25519(public)
    except (exceptions.RuntimeError, exceptions.ValueError, exceptions.TypeError):
        raise BadKey(f"{format_key(public)}: not a point of the curve") from None


def format_key(public: bytes) -> str:
    """Return the text of a public key, as records and people have it."""
    return _PREFIX + public.hex()


def parse_key(text: str) -> bytes:
    """Return the public key that `text` spells; BadKey for anything else."""
    digits = text.removeprefix(_PREFIX)
    try:
        public = bytes.fromhex(digits) if text != digits else b""
    except ValueError:
        public = b""
    if len(public) != PUBLIC_SIZE or not digits.isalnum():
        raise BadKey(f"{text!r} is not a public key ({_PREFIX} and 64 hex digits)")
    channel_key(public)
    return public


def create(path: str) -> Identity:
    """Make a new identity in the file `path`, on disk at return; FileExistsError if it is there."""
    identity = Identity.generate()
    text = f"key={format_key(identity.public)} seed={identity.seed.hex()}\n"
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return identity


def load(path: str) -> Identity:
    """Return the identity in the file `path`.

    BadKey if the file is another's, if anybody else may read or write it, or if it holds no key.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check_owner(path, os.fstat(descriptor))
        text = os.read(descriptor, _FILE_SIZE_MAX).decode("ascii", errors="replace")
    finally:
        os.close(descriptor)
    pairs = dict(word.split("=", 1) for word in text.split() if "=" in word)
    try:
        identity = Identity.of(bytes.fromhex(pairs["seed"]))
        stated = parse_key(pairs["key"])
    except (KeyError, ValueError, exceptions.ValueError, exceptions.TypeError, BadKey):
        raise BadKey(f"{path}: holds no key") from None
    if identity.public != stated:
        raise BadKey(f"{path}: damaged, its seed and its public key do not belong together")
    return identity


def _check_owner(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadKey(f"{path}: not a regular file")
    if status.st_uid != os.geteuid():
        raise BadKey(f"{path}: belongs to user {status.st_uid}")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise BadKey(f"{path}: mode {mode:04o} lets others in (chmod 600 {path})")


@dataclass(frozen=True, slots=True)
class Peer:
    """A node (`sys`) or a user that is known by its key."""

    name: str
    user: bool
    public: bytes  # Ed25519
    dials: tuple[str, ...] = ()
    rights: frozenset[str] = frozenset()


class Peers:
    """Everybody who is known, from ndb records; nobody else gets in."""

    def __init__(self, peers: Iterable[Peer] = ()) -> None:
        self._by_channel: dict[bytes, Peer] = {}
        self._by_name: dict[str, Peer] = {}
        self._by_dial: dict[str, Peer] = {}
        for peer in peers:
            self._add(peer)

    @classmethod
    def of_records(cls, records: Iterable[Sequence[tuple[str, str]]]) -> Self:
        """Take the peers from records given as attribute and value pairs.

        A peer's record has `sys=NAME` or `user=NAME`, `pubkey=`, and any number of `dial=` and
        `right=`; records without `pubkey=` are something else's. BadKey for one that is not sound.
        """
        return cls(peer for pairs in records if (peer := _peer_of_record(tuple(pairs))) is not None)

    def by_channel_key(self, key: bytes) -> Peer | None:
        """Return who holds this X25519 public key."""
        return self._by_channel.get(key)

    def by_name(self, name: str) -> Peer | None:
        return self._by_name.get(name)

    def by_dial(self, dial: str) -> Peer | None:
        """Return who is to be expected at this address."""
        return self._by_dial.get(dial)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._by_name.values())

    def _add(self, peer: Peer) -> None:
        # the two Ed25519 keys of opposite sign have one X25519 key: they may not both be peers
        key = channel_key(peer.public)
        if key in self._by_channel:
            raise BadKey(f"{peer.name} and {self._by_channel[key].name} have the same key")
        if peer.name in self._by_name:
            raise BadKey(f"{peer.name} has two records with keys")
        self._by_channel[key] = peer
        self._by_name[peer.name] = peer
        for dial in peer.dials:
            if dial in self._by_dial:
                raise BadKey(f"{peer.name} and {self._by_dial[dial].name} are both {dial}")
            self._by_dial[dial] = peer


def _peer_of_record(pairs: tuple[tuple[str, str], ...]) -> Peer | None:
    def values(attr: str) -> list[str]:
        return [value for name, value in pairs if name == attr]

    keys = values("pubkey")
    if not keys:
        return None
    names = values("sys") + values("user")
    if len(keys) != 1 or len(names) != 1 or not names[0]:
        raise BadKey(f"the record of {keys[0]} needs one sys= or user=, and one pubkey=")
    return Peer(
        names[0],
        bool(values("user")),
        parse_key(keys[0]),
        tuple(values("dial")),
        frozenset(values("right")),
    )
