"""What makes one spawn of a root another machine than the next: names, addresses, machine id, ssh keys. Pure.

The files are bound into the root, read only, and never part of it: nothing of them is saved. Random bytes
come from the caller.
"""

import base64
import struct
from typing import Final

MACHINE_ID: Final = "etc/machine-id"
HOST_KEYS: Final = ("rsa", "ecdsa", "dsa", "ed25519")
_LABEL_MAX: Final = 63
_LOOPBACK: Final = ("127.", "::1", "0.0.0.0")


def hostname_of(name: str) -> str:
    """Return a name as a host can have it: letters, digits and `-`; `environment` if nothing is left."""
    allowed = "".join(c if c.isascii() and c.isalnum() else "-" for c in name)
    return allowed.strip("-")[:_LABEL_MAX].strip("-") or "environment"


def hosts(hostname: str, address: str) -> str:
    own = address or "127.0.1.1"
    return f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{own}\t{hostname}\n"


def resolv_conf(of_machine: str, *, shares_network: bool) -> str:
    """Return this machine's resolv.conf as it makes sense inside.

    A resolver on the machine's loopback can only be reached by those who share its network.
    """
    kept = [
        line
        for line in of_machine.splitlines()
        if shares_network
        or not (line.startswith("nameserver") and line.split()[-1].startswith(_LOOPBACK))
    ]
    return "".join(f"{line}\n" for line in kept)


def machine_id(entropy: bytes) -> str:
    """Return the text of an id made of 16 random bytes, with a UUID's version and variant bits."""
    value = bytearray(entropy[:16])
    value[6] = value[6] & 0x0F | 0x40
    value[8] = value[8] & 0x3F | 0x80
    return f"{value.hex()}\n"


def ssh_key(seed: bytes, public: bytes, comment: str) -> tuple[str, str]:
    """Return an Ed25519 key as ssh keeps it: the secret file's text and the public one's.

    Source: OpenSSH, PROTOCOL.key.
    """

    def text(value: bytes) -> bytes:
        return struct.pack(">I", len(value)) + value

    kind = b"ssh-ed25519"
    blob = text(kind) + text(public)
    check = public[:4] * 2  # any number, twice: it only shows that decryption worked
    inner = check + blob + text(seed + public) + text(comment.encode())
    inner += bytes(range(1, 9))[: -len(inner) % 8]
    whole = (
        b"openssh-key-v1\0"
        + text(b"none")
        + text(b"none")
        + text(b"")
        + struct.pack(">I", 1)
        + text(blob)
        + text(inner)
    )
    encoded = base64.b64encode(whole).decode()
    lines = "\n".join(encoded[n : n + 70] for n in range(0, len(encoded), 70))
    secret = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}\n-----END OPENSSH PRIVATE KEY-----\n"
    return secret, f"ssh-ed25519 {base64.b64encode(blob).decode()} {comment}\n"
