from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndbdb.parser import parse
from tests.venti_store.names.kit import (
    ONE,
    STO1,
    STO2,
    STRANGER,
    TRUST,
    about,
    naming,
    record_lists,
    signed,
)
from venti_store.names.errors import BadNameRecord, BadSignature, UnknownOrigin
from venti_store.names.record import (
    COMMENT_BYTES_MAX,
    FIELDS,
    RECORD_BYTES_MAX,
    REVOKES_MAX,
    SEQUENCE_MAX,
    Action,
    Record,
    nonce_of,
    pack,
    unpack,
)
from venti_store.names.signing import sign
from venti_store.names.words import NAME_BYTES_MAX, TIME_MAX, USER_BYTES_MAX
from venti_store.score import SHA1

ORIGIN = "origin=ed25519:8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
STAMP = f"user=glenda time=2023-11-14T22:13:20.000000Z {ORIGIN}"
NAME = naming(parent="usr.0123456789abcdef", comment="after the move")
SHARE = about(NAME, Action.SHARE, to="rob")
LINES = {
    NAME: f"scorename=usr.0a5b14e2ff041706 rootscore=vac:{ONE.hex()} {STAMP} seq=1"
    ' parent=usr.0123456789abcdef comment="after the move" sig=9440f648f69048e3f41092ebbe4b7083601c'
    "a7c33df834f8e5810087f3b32339e83ac9284b1f97c37c04dbd390f1a941b36984e4cde689551ba75cf66156940f",
    about(
        NAME, Action.FORGET
    ): f"forget=usr.0a5b14e2ff041706 {STAMP} seq=2 sig=007712fabaa425e15204"
    "120927231a7db44dfea0591c216410c3b0460648a03da91ac398d7676e80f541d5d55feb38d0d6061d976d2714287c"
    "93298d6175ae0f",
    SHARE: f"share=usr.0a5b14e2ff041706 with=rob {STAMP} seq=2 sig=64da5cf046c350718cc6da1043ab4f60f68"
    "5a99c4a56e5fa30a8fd758ba9828e16c559e7075cce138f6c7659cf5d6bf10f55ddf604fd3e5bf7a872bd1936eb07",
    about(
        NAME, Action.UNSHARE, to="rob", revokes=(SHARE.id,)
    ): "unshare=usr.0a5b14e2ff041706 with=rob"
    f" revokes=e4a8185d0aff0056 {STAMP} seq=2 sig=a5ac1d54265637d0ae4aea1d8a6a524de34f9202396a8b714bd"
    "eb660bf63b442cb7a3132722750b065d382df1898b3fc5fe29c80f0ebc79196de5cd3ac9a260e",
}


@pytest.mark.parametrize("record", LINES, ids=lambda r: r.action)
def test_golden_bytes(record: Record) -> None:
    data = signed(record).data
    assert data == LINES[record].encode() + b"\n"
    assert TRUST.accept(data).record == record


@given(records=record_lists())
def test_what_was_signed_is_accepted_as_it_was(records: list[Record]) -> None:
    for record in records:
        by = STO1 if record.origin == STO1.public else STO2
        data = sign(record, by).data
        assert TRUST.accept(data).record == record
        [read] = parse(data.decode())  # a line that ndbquery reads
        assert read.get(record.action) == record.full


def test_the_nonce_follows_from_all_of_the_record() -> None:
    others = [
        naming(),
        naming("other"),
        naming(score=SHA1.score(b"1")),
        naming(user="rob"),
        naming(time=1),
        naming(by=STO2),
        naming(seq=2),
        naming(parent="a.0123456789abcdef"),
        naming(comment="c"),
    ]
    assert len({record.nonce for record in others}) == len(others)
    with pytest.raises(BadNameRecord, match="nonce"):
        pack(replace(naming(), nonce="0123456789abcdef"), bytes(64))


def test_any_changed_byte_is_noticed() -> None:
    data = signed(NAME).data
    for at in range(len(data)):
        for flip in (1, 0x20, 0x80):
            bad = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            with pytest.raises((BadNameRecord, BadSignature, UnknownOrigin)):
                TRUST.accept(bad)


def test_only_nodes_that_are_known_sign_and_only_for_themselves() -> None:
    with pytest.raises(UnknownOrigin, match="right names"):
        TRUST.accept(signed(naming(by=STRANGER), STRANGER).data)
    forged = pack(NAME, STRANGER.sign(b"spawngrid name record\n" + b"x"))
    with pytest.raises(BadSignature, match="sto1"):
        TRUST.accept(forged)
    # a signature of the same key for something else
    with pytest.raises(BadSignature):
        TRUST.accept(pack(NAME, STO1.sign(signed(NAME).data)))


GOOD = signed(NAME).data.decode()


@pytest.mark.parametrize(
    "bad",
    [
        *("", "\n", "x=y\n", "# comment\n", GOOD[:-1], GOOD + GOOD, GOOD + "\n", "\n" + GOOD),
        GOOD.replace("usr.", "../usr."),
        GOOD.replace("usr.", "$(reboot)."),
        GOOD.replace("usr.", "a/b."),
        GOOD.replace("usr.0a5b14e2ff041706", '"u sr.0a5b14e2ff041706"'),
        GOOD.replace("usr.0a5b14e2ff041706", "usr"),
        GOOD.replace("usr.0a5b14e2ff041706", "usr.0A5B14E2FF041706"),
        GOOD.replace("user=glenda", "user=a/b"),
        GOOD.replace("user=glenda", 'user="glenda"'),
        GOOD.replace("user=glenda ", ""),
        GOOD.replace("user=glenda", "user=glenda user=rob"),
        GOOD.replace("user=glenda", "user=glenda extra=1"),
        GOOD.replace(" user=glenda", "  user=glenda"),
        GOOD.replace("seq=1", "seq=01"),
        GOOD.replace("seq=1", "seq=0"),
        GOOD.replace("seq=1", "seq=-1"),
        GOOD.replace("seq=1", f"seq={SEQUENCE_MAX + 1}"),
        GOOD.replace("seq=1", "seq=" + "9" * 5000),
        GOOD.replace("2023-11-14T22:13:20.000000Z", "2023-11-14T22:13:20Z"),
        GOOD.replace("2023-11-14T22:13:20.000000Z", "2023-11-34T22:13:20.000000Z"),
        GOOD.replace("2023-11-14", "1969-11-14"),
        GOOD.replace(ONE.hex(), ONE.hex().upper()),
        GOOD.replace(ONE.hex(), ONE.hex()[:-2]),
        GOOD.replace("vac:", ""),
        GOOD.replace("ed25519:8a", "ed25519:"),
        GOOD.replace("ed25519:", "rsa:"),
        GOOD.replace("after", "af\0ter"),
        GOOD.replace("after", "af\rter"),
        GOOD.replace("sig=9", "sig="),
        GOOD.replace("sig=", "with=rob sig="),
        GOOD.replace("\n", "\n\tcomment=more\n"),
        GOOD.replace(" comment", "\n\tcomment"),
    ],
)
def test_hostile_lines_are_refused(bad: str) -> None:
    with pytest.raises(BadNameRecord):
        unpack(bad.encode())


@given(st.binary(max_size=400))
def test_any_bytes_are_a_record_or_refused(data: bytes) -> None:
    with pytest.raises(BadNameRecord):
        unpack(data)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(BadNameRecord, match="UTF-8"):
        unpack(GOOD.encode().replace(b"after", b"\xff"))
    with pytest.raises(BadNameRecord, match="16384 at most"):
        unpack(GOOD.encode() + b" " * RECORD_BYTES_MAX)


LIMITS: list[tuple[dict[str, object], dict[str, object]]] = [
    (
        {"comment": "é" * (COMMENT_BYTES_MAX // 2)},
        {"comment": "é" * (COMMENT_BYTES_MAX // 2) + "x"},
    ),
    ({"name": "x" * NAME_BYTES_MAX}, {"name": "x" * (NAME_BYTES_MAX + 1)}),
    ({"user": "x" * USER_BYTES_MAX}, {"user": "x" * (USER_BYTES_MAX + 1)}),
    ({"time": TIME_MAX}, {"time": TIME_MAX + 1}),
    ({"time": 0}, {"time": -1}),
    ({"seq": SEQUENCE_MAX}, {"seq": SEQUENCE_MAX + 1}),
    ({"seq": 1}, {"seq": 0}),
    ({}, {"origin": bytes(31)}),
    ({}, {"score": ONE[:31]}),
    ({}, {"score": None}),
    ({}, {"comment": 'a "quote"'}),
    ({}, {"comment": "a\nb"}),
    ({}, {"to": "rob"}),
    ({}, {"revokes": ("0123456789abcdef",)}),
    ({}, {"parent": "usr"}),
]


@pytest.mark.parametrize(("good", "bad"), LIMITS)
def test_limits(good: dict[str, object], bad: dict[str, object]) -> None:
    base = naming()
    assert unpack(signed(replace(base, **good)).data)[0] == replace(
        base, **good, nonce=nonce_of(replace(base, **good))
    )
    with pytest.raises(BadNameRecord):
        nonce_of(replace(base, **bad))


def test_the_largest_record_fits_a_log() -> None:
    shares = tuple(f"{n:016x}" for n in range(REVOKES_MAX + 1))
    largest = about(naming("x" * NAME_BYTES_MAX, user="u" * USER_BYTES_MAX), Action.UNSHARE, to="*")
    largest = replace(
        largest,
        user="u" * USER_BYTES_MAX,
        comment="c" * COMMENT_BYTES_MAX,
        revokes=shares[:-1],
        time=TIME_MAX,
        seq=SEQUENCE_MAX,
    )
    assert len(signed(largest).data) <= RECORD_BYTES_MAX
    for revokes in ((), shares, ("0123",)):
        with pytest.raises(BadNameRecord):
            signed(replace(largest, revokes=revokes))


def test_every_field_belongs_to_a_record() -> None:
    assert {field.field for field in FIELDS} | {"action", "name", "nonce"} == set(
        Record.__dataclass_fields__
    )
