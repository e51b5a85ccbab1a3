"""The record codec: golden bytes, round trips, limits, and every way a record can be bad."""

import random
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from venti_store import codec
from venti_store.codec import (
    BadRecord,
    decompress,
    encode,
    find_body,
    payload,
    read_header,
    verified,
)
from venti_store.kind import BLOCK_SIZE_MAX, Kind
from venti_store.score import BLAKE3, FAMILIES, SHA1, Family

families = st.sampled_from(sorted(FAMILIES.values(), key=lambda f: f.name))
kinds = st.sampled_from([None, *Kind])


@given(family=families, kind=kinds, piece=st.binary(max_size=300), repeat=st.integers(0, 50))
def test_a_record_gives_back_its_block(
    family: Family, kind: Kind | None, piece: bytes, repeat: int
) -> None:
    data = piece * repeat
    record = encode(kind, family.score(data), memoryview(data))
    header = read_header(record)
    assert (header.kind, header.length, header.score) == (kind, len(data), family.score(data))
    assert bytes(verified(memoryview(record), header, family)) == data
    assert len(record) <= codec.HEADER_SIZE + family.size + len(data)


RAW_GOLDEN = (  # header up to the check, check, score, payload
    "7642010d0014000000000005 2b3cb691 aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d 68656c6c6f"
)
ZSTD_GOLDEN = (
    "7642010d0114000000000078 4ec80043 6d8a979c9f56fd4d6d8529c3583eeff0c09414a1"
    "28b52ffd00006d000030737061776e2001002f692902"
)


def test_golden_bytes() -> None:
    assert encode(Kind.DATA, SHA1.score(b"hello"), b"hello") == bytes.fromhex(RAW_GOLDEN)
    # another zstd may choose other bytes, but must read these
    record = bytes.fromhex(ZSTD_GOLDEN)
    assert bytes(verified(record, read_header(record), SHA1)) == b"spawn " * 20
    name = encode(None, BLAKE3.score(b"a"), b"a")
    assert name[:12].hex() == "764201000020000000000001"


def test_noise_is_stored_raw_and_text_compressed() -> None:
    noise = random.Random(1).randbytes(BLOCK_SIZE_MAX)
    for size in (10, 100, 8 << 10, BLOCK_SIZE_MAX):
        data = noise[:size]
        assert read_header(encode(Kind.DATA, BLAKE3.score(data), data)).coding == codec.RAW
    text = b"The score of a block is the hash of its bytes. " * 200
    record = encode(Kind.DATA, BLAKE3.score(text), text)
    assert read_header(record).coding == codec.ZSTD
    assert len(record) < len(text) / 4


def _with(record: bytes, **fields: int) -> bytes:
    """Return the record with header fields replaced and the check made right again."""
    values = dict(
        zip(
            (f.name for f in codec.HEADER[:-1]),
            codec._HEAD.unpack_from(record),
            strict=True,
        )
    )
    head = codec._HEAD.pack(*(values | fields).values())
    score = record[codec.HEADER_SIZE :][: (values | fields)["score_size"]]
    check = codec._CHECK.pack(zlib.crc32(score, zlib.crc32(head)))
    return head + check + record[codec.HEADER_SIZE :]


@pytest.mark.parametrize(
    "change",
    [
        {"magic": 0x7643},
        {"version": 2},
        {"kind": 10},
        {"kind": 14},
        {"coding": 2},
        {"length": BLOCK_SIZE_MAX + 1},
        {"kind": 0, "length": codec.NAME_SIZE_MAX + 1},
    ],
)
def test_what_a_header_may_not_say(change: dict[str, int]) -> None:
    record = encode(Kind.DATA, BLAKE3.score(b"x"), b"x")
    assert _with(record) == record
    with pytest.raises(BadRecord):
        read_header(_with(record, **change))


@pytest.mark.parametrize(
    "change", [{"length": BLOCK_SIZE_MAX}, {"kind": 0, "length": codec.NAME_SIZE_MAX}]
)
def test_limits_themselves_are_fine(change: dict[str, int]) -> None:
    record = _with(encode(Kind.DATA, BLAKE3.score(b"x"), b"x"), **change)
    assert read_header(record).length == change["length"]


@given(st.booleans(), st.randoms(use_true_random=False))
def test_a_flipped_bit_is_found_or_harms_nothing(packed: bool, chance: random.Random) -> None:
    data = b"spawn " * 2000 if packed else b"a short block"
    score = BLAKE3.score(data)
    record = bytearray(encode(Kind.DATA, score, data))
    place = chance.randrange(len(record))
    record[place] ^= 1 << chance.randrange(8)
    try:
        found = bytes(verified(record, read_header(record), BLAKE3))
    except BadRecord:
        return
    # a few bits of a zstd frame mean nothing; all others count
    assert packed
    assert place >= codec.HEADER_SIZE + 32
    assert found == data


@given(st.booleans(), st.randoms(use_true_random=False))
def test_a_read_by_key_is_never_misled(packed: bool, chance: random.Random) -> None:
    data = b"spawn " * 2000 if packed else b"a short block"
    score = BLAKE3.score(data)
    record = bytearray(encode(Kind.DATA, score, data))
    record[chance.randrange(len(record))] ^= 1 << chance.randrange(8)
    try:
        coding, length, body = find_body(memoryview(record), score, Kind.DATA)
        found = body if coding == codec.RAW else decompress(body, length)
    except BadRecord:
        return
    assert found == data or BLAKE3.score(bytes(found)) != score
    assert len(found) == length


def test_a_read_by_key_refuses_the_records_of_others() -> None:
    record = encode(Kind.DATA, BLAKE3.score(b"x"), b"x")
    assert find_body(record, BLAKE3.score(b"x"), Kind.DATA)[2] == b"x"
    for score, kind in (
        (BLAKE3.score(b"y"), Kind.DATA),
        (BLAKE3.score(b"x"), Kind.ROOT),
        (BLAKE3.score(b"x"), None),
        (SHA1.score(b"x"), Kind.DATA),
    ):
        with pytest.raises(BadRecord):
            find_body(record, score, kind)


@given(st.integers(0, 10**6))
def test_a_record_cut_short_is_found(cut: int) -> None:
    for data in (b"hello", b"spawn " * 500):
        record = encode(Kind.DATA, BLAKE3.score(data), data)
        record = record[: cut % len(record)]
        with pytest.raises(BadRecord):
            verified(record, read_header(record), BLAKE3)


@given(st.binary(max_size=200))
def test_noise_is_no_record(noise: bytes) -> None:
    with pytest.raises(BadRecord):
        read_header(noise)


def test_a_compressed_block_cannot_take_more_memory_than_its_header_says() -> None:
    data = b"x" * BLOCK_SIZE_MAX
    record = encode(Kind.DATA, BLAKE3.score(data), data)
    short = _with(record, length=BLOCK_SIZE_MAX - 1)
    with pytest.raises(BadRecord):
        payload(short, read_header(short))
    # a frame that claims a size itself: the claim is not believed
    bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    head = encode(Kind.DATA, BLAKE3.score(data), data)[: codec.HEADER_SIZE + 32]
    with pytest.raises(BadRecord):
        payload(head + bomb, read_header(head + bomb))
