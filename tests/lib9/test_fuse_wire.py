"""The parser of kernel requests, under AddressSanitizer: well-formed, cut off, and made of noise."""

import random
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
OK, UNKNOWN, MALFORMED, NO_HEADER = range(4)
Parse = Callable[[Sequence[bytes]], list[str]]


@pytest.fixture(scope="module")
def parse(tmp_path_factory: pytest.TempPathFactory) -> Parse:
    """Return a function: requests in, one line about each out."""
    program = tmp_path_factory.mktemp("wire") / "harness"
    sources = [TOP / "tests/lib9/wire_harness.c", TOP / "lib9/fuse/wire.c"]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", "-g", "-std=gnu11", *warnings, *sanitizers, "-o", program, *sources]
    subprocess.run(command, check=True)

    def run(requests: Sequence[bytes]) -> list[str]:
        fed = b"".join(struct.pack("=I", len(one)) + one for one in requests)
        done = subprocess.run([program], input=fed, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        lines = done.stdout.decode().splitlines()
        assert len(lines) == len(requests)
        return lines

    return run


def request(opcode: int, body: bytes, *, length: int | None = None) -> bytes:
    size = 40 + len(body) if length is None else length
    return struct.pack("=IIQQIIIHH", size, opcode, 7, 1, 0, 0, 99, 0, 0) + body


WHOLE = {
    "lookup": (1, b"name\0"),
    "forget": (2, struct.pack("=Q", 5)),
    "getattr": (3, struct.pack("=IIQ", 1, 0, 9)),
    "setattr": (4, struct.pack("=II6Q8I", *range(16))),
    "readlink": (5, b""),
    "symlink": (6, b"name\0target\0"),
    "mknod": (8, struct.pack("=4I", 1, 2, 3, 0) + b"n\0"),
    "mkdir": (9, struct.pack("=2I", 1, 2) + b"n\0"),
    "rename": (12, struct.pack("=Q", 3) + b"old\0new\0"),
    "link": (13, struct.pack("=Q", 3) + b"new\0"),
    "open": (14, struct.pack("=2I", 1, 0)),
    "read": (15, struct.pack("=QQIIQII", 1, 2, 3, 0, 0, 0, 0)),
    "write": (16, struct.pack("=QQIIQII", 1, 2, 5, 4, 0, 0, 0) + b"12345"),
    "statfs": (17, b""),
    "release": (18, struct.pack("=QIIQ", 1, 0, 0, 0)),
    "setxattr": (21, struct.pack("=2I", 3, 1) + b"user.a\0xyz"),
    "getxattr": (22, struct.pack("=2I", 3, 0) + b"user.a\0"),
    "init": (26, struct.pack("=16I", 7, 45, 131072, 0xFFFFFFFF, 0xFF, *[0] * 11)),
    "old init": (26, struct.pack("=4I", 7, 31, 131072, 3)),
    "create": (35, struct.pack("=4I", 1, 2, 3, 0) + b"n\0"),
    "interrupt": (36, struct.pack("=Q", 6)),
    "poll": (40, struct.pack("=QQII", 1, 2, 3, 4)),
    "batch forget": (42, struct.pack("=II4Q", 2, 0, 1, 2, 3, 4)),
    "fallocate": (43, struct.pack("=QQQII", 1, 2, 3, 4, 0)),
    "readdirplus": (44, struct.pack("=QQIIQII", 1, 2, 3, 0, 0, 0, 0)),
    "rename2": (45, struct.pack("=QII", 3, 2, 0) + b"old\0new\0"),
    "lseek": (46, struct.pack("=QQII", 1, 2, 4, 0)),
    "copy": (47, struct.pack("=7Q", *range(7))),
    "tmpfile": (51, struct.pack("=4I", 1, 2, 3, 0) + b"/\0"),
    "statx": (52, struct.pack("=IIQII", 1, 0, 2, 3, 4)),
}


def test_whole_requests(parse: Parse) -> None:
    lines = dict(zip(WHOLE, parse([request(*one) for one in WHOLE.values()]), strict=True))
    assert all(line.startswith(f"{OK} ") for line in lines.values()), lines
    assert lines["lookup"] == f"0 1 | 4 0 0 = {sum(b'name')}"
    assert lines["setattr"].startswith("0 4 0 2 3 5 6 7 8 9 10 11 13 14 |")
    assert lines["symlink"].startswith("0 6 | 4 6 0 =")
    assert lines["write"].startswith("0 16 1 2 5 4 | 0 0 5 =")
    assert lines["setxattr"].startswith("0 21 3 1 | 6 0 3 =")
    assert lines["init"].startswith("0 26 7 45 131072 4294967295 255 |")
    assert lines["old init"].startswith("0 26 7 31 131072 3 |")
    assert lines["batch forget"].endswith(f"= {1 + 2 + 3 + 4 + 1 + 2 + 3 + 4}")
    assert lines["copy"].startswith("0 47 0 1 2 3 4 5 6 |")


@pytest.mark.parametrize("name", WHOLE)
def test_every_request_cut_off_anywhere_is_refused(parse: Parse, name: str) -> None:
    opcode, body = WHOLE[name]
    whole = request(opcode, body)
    cut = [whole[:size] for size in range(len(whole))]  # the header still says the full length
    for size, line in enumerate(parse(cut)):
        assert line.startswith(f"{NO_HEADER if size < 40 else MALFORMED} ")
    shorter = [request(opcode, body[:size]) for size in range(len(body))]
    lines = parse(shorter)
    fixed = {"init": 16, "old init": 16}.get(name, len(body))
    for size, line in enumerate(lines):
        assert line.startswith(f"{OK if size >= fixed else MALFORMED} "), (size, line)


def test_lengths_that_lie(parse: Parse) -> None:
    huge = 0xFFFFFFFF
    lies = [
        request(1, b"name without end"),
        request(6, b"name\0target without end"),
        request(16, struct.pack("=QQIIQII", 1, 2, 6, 0, 0, 0, 0) + b"12345"),
        request(16, struct.pack("=QQIIQII", 1, 2, huge, 0, 0, 0, 0) + b"12345"),
        request(21, struct.pack("=2I", huge, 1) + b"user.a\0xyz"),
        request(42, struct.pack("=II2Q", huge, 0, 1, 2)),
        request(42, struct.pack("=II2Q", 0x10000001, 0, 1, 2)),
        request(15, struct.pack("=QQIIQII", 1, 2, 3, 0, 0, 0, 0), length=41),
        request(15, struct.pack("=QQIIQII", 1, 2, 3, 0, 0, 0, 0), length=huge),
    ]
    assert all(line.startswith(f"{MALFORMED} ") for line in parse(lies))
    unknown = [request(opcode, b"") for opcode in (0, 7, 19, 53, 63, 64, 4096, huge)]
    assert all(line.startswith(f"{UNKNOWN} ") for line in parse(unknown))


@pytest.mark.parametrize("seed", range(4))
def test_noise(parse: Parse, seed: int) -> None:
    dice = random.Random(seed)
    noise = []
    for _ in range(4000):
        body = bytearray(dice.randbytes(dice.randrange(120)))
        for _ in range(dice.randrange(8)):  # small numbers and zeros reach further
            if body:
                body[dice.randrange(len(body))] = dice.choice([0, 0, 1, 2, 255])
        length = dice.choice([None, None, None, dice.randrange(200)])
        noise.append(request(dice.randrange(66), bytes(body), length=length))
    verdicts = {line[0] for line in parse(noise)}
    assert verdicts >= {"0", "1", "2"}
