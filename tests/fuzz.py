"""`python -m tests.fuzz [NAMES]`: every decoder against random and damaged input, for a limited time.

A decoder takes bytes from strangers. It may give a value or one of its own errors; anything else (an
exception of another kind, a hang) is a fault. Input is made from a seed, which is printed with it.
"""

import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from fossil_fs.format.direntry import unpack_direntry
from fossil_fs.format.metablock import unpack_metablock
from fossil_fs.format.section import unpack_extra
from fossil_fs.format.xattrs import unpack_xattrs
from lib9.channel import Channel
from lib9.errors import SpawngridError
from lib9.framing import FrameBuffer
from lib9.keys import parse_key
from lib9.noise import KeyPair
from lib9.streams import parse_dial
from ndbdb.parser import parse
from tests.venti_store.names.kit import about, naming, signed
from venti_store import wire
from venti_store.codec import BadRecord, read_header, verified
from venti_store.hashtree.entry import unpack_entry
from venti_store.hashtree.root import unpack_root
from venti_store.names.page import Numbered, Page, names_in, record_of
from venti_store.names.record import Action
from venti_store.names.record import unpack as unpack_name
from venti_store.names.waiting import parse_waiting
from venti_store.names.words import parse_reference
from venti_store.protocol import Connection, Role
from venti_store.score import BLAKE3, FAMILIES, parse_score
from venti_store.versions import LineReader

HANG_SECONDS = 5.0
KEYS = KeyPair.generate()
Decoder = Callable[[bytes], object]


def _connection(role: Role) -> Decoder:
    def decode(data: bytes) -> None:
        connection = Connection(role, tuple(wire.VERSIONS.values()))
        cut = len(data) // 2
        for piece in (data[:cut], data[cut:]):
            connection.feed(piece)
            for _ in connection.events():
                pass

    return decode


def _message(version: wire.Version) -> Decoder:
    return lambda data: wire.unpack(version, memoryview(data)) if len(data) > 1 else None


def _channel(data: bytes) -> None:
    channel = Channel(KEYS)
    channel.feed(data)
    channel.messages()


def _frames(data: bytes) -> None:
    frames = FrameBuffer(prefix_size=2, body_size_max=1000)
    frames.feed(data)
    while frames.next_body() is not None:
        pass


def _record(data: bytes) -> None:
    verified(data, read_header(data), BLAKE3)


DECODERS: dict[str, Decoder] = {
    "server": _connection(Role.SERVER),
    "client": _connection(Role.CLIENT),
    "line": lambda data: LineReader().feed(data),
    "channel": _channel,
    "frames": _frames,
    "record": _record,
    "score": lambda data: parse_score(data.decode("latin-1")),
    "key": lambda data: parse_key(data.decode("latin-1")),
    "dial": lambda data: parse_dial(data.decode("latin-1")),
    "direntry": unpack_direntry,
    "metablock": lambda data: unpack_metablock(data, 8192),
    "extra": unpack_extra,
    "xattrs": unpack_xattrs,
    "name-record": unpack_name,
    "name-waiting": lambda data: parse_waiting(data.decode(errors="surrogateescape")),
    "name-page": lambda data: names_in(data.decode(errors="surrogateescape")),
    "name-line": lambda data: record_of(data.decode(errors="surrogateescape")),
    "name-reference": lambda data: parse_reference(data.decode(errors="surrogateescape")),
    "ndb": lambda data: list(parse(data.decode(errors="surrogateescape"))),
    **{f"message-{name}": _message(version) for name, version in wire.VERSIONS.items()},
    **{
        f"entry-{name}": lambda d, f=family: unpack_entry(f, d) for name, family in FAMILIES.items()
    },
    **{f"root-{name}": lambda d, f=family: unpack_root(f, d) for name, family in FAMILIES.items()},
}


def corpus() -> list[bytes]:
    """Return inputs that make sense to one decoder or another: what was recorded from real programs."""
    texts = (Path(__file__).parent / "data/venti").glob("*.txt")
    hexed = [line.split("#")[0] for text in texts for line in text.read_text().splitlines()]
    words = [word for line in hexed for word in line.split() if len(word) > 3]
    found = [
        bytes.fromhex(w)
        for w in words
        if all(c in "0123456789abcdef" for c in w) and len(w) % 2 == 0
    ]
    lines = [b"venti-04:02-x\n", b"venti-02-x\n", b"venti-b1-x\n", b"venti-s1-x\n"]
    found += [line + data for line in lines for data in found[:40]]
    entry = bytes(4) + b"\x20\0\x20\0\1\0" + bytes(11) + BLAKE3.nothing
    texts_ = [
        b"tcp!a!1",
        b"ed25519:" + b"3b" * 32,
        b"vac:" + b"da" * 20,
        b'sys=a dial="b" #c\n\tx=y\n',
    ]
    one = naming(comment="a b")
    share = about(one, Action.SHARE, to="*")
    page = Page.empty("# x\n").extended([Numbered(1, one), Numbered(2, share)])
    texts_ += [signed(one).data, signed(share).data, page.text.encode(), b"usr@2026-01-31~1.0a5b"]
    texts_ += [line.encode() + b"\n" for line in page.text.splitlines()]
    return [*found, *lines, *texts_, entry, bytes(300), b"\1" * 324]


def mutated(data: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 8))):
        at = chance.randrange(len(out) + 1)
        match chance.randrange(5):
            case 0:
                out[at : at + 1] = chance.randbytes(1)
            case 1:
                out[at:at] = chance.randbytes(chance.randrange(9))
            case 2:
                del out[at : at + chance.randrange(1, 9)]
            case 3:
                out[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\0\1\0\0"))
            case 4:
                out += out[at : at + 64]
    return bytes(out)


def run(name: str, decode: Decoder, inputs: list[bytes], *, seed: int, seconds: float) -> int:
    """Return how many inputs were tried; SystemExit at the first that is not handled."""
    chance = random.Random(f"{seed} {name}")
    end = time.monotonic() + seconds
    count = 0
    while (began := time.monotonic()) < end:
        data = chance.randbytes(chance.randrange(80)) if chance.random() < 0.2 else b""
        data = data or mutated(chance.choice(inputs), chance)
        count += 1
        try:
            decode(data)
        except (SpawngridError, BadRecord):
            pass
        except Exception:
            traceback.print_exc()
            raise SystemExit(f"{name}: not handled, seed {seed}: {data.hex()}") from None
        if time.monotonic() - began > HANG_SECONDS:
            raise SystemExit(f"{name}: took too long, seed {seed}: {data.hex()}")
    return count


def main(names: list[str]) -> None:
    seconds = float(os.environ.get("FUZZ_SECONDS", "20"))
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
    inputs = corpus()
    for name in names or sorted(DECODERS):
        count = run(name, DECODERS[name], inputs, seed=seed, seconds=seconds)
        print(f"{name}: {count} inputs, seed {seed}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
