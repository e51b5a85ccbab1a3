"""What the tests of names share: signers with known keys, records, and any records at all."""

from dataclasses import replace

from hypothesis import strategies as st

from lib9.keys import Identity
from venti_store.names.record import Action, Record, named
from venti_store.names.signing import Signed, Trust, sign
from venti_store.names.words import EVERYBODY
from venti_store.score import BLAKE3, Score

STO1, STO2, STRANGER = (Identity.of(bytes([n]) * 32) for n in (1, 2, 3))
TRUST = Trust({STO1.public: "sto1", STO2.public: "sto2"})
TIME = 1_700_000_000_000_000
ONE, TWO = (BLAKE3.score(text) for text in (b"1", b"2"))


def naming(
    name: str = "usr",
    score: Score = ONE,
    *,
    user: str = "glenda",
    time: int = TIME,
    by: Identity = STO1,
    seq: int = 1,
    parent: str = "",
    comment: str = "",
) -> Record:
    return named(
        Record(
            Action.NAME,
            name,
            "",
            user,
            time,
            by.public,
            seq,
            score=score,
            parent=parent,
            comment=comment,
        )
    )


def about(
    target: Record,
    action: Action,
    *,
    to: str = "",
    revokes: tuple[str, ...] = (),
    user: str = "glenda",
    time: int = TIME,
    by: Identity = STO1,
    seq: int = 2,
) -> Record:
    return Record(
        action, target.name, target.nonce, user, time, by.public, seq, to=to, revokes=revokes
    )


def signed(record: Record, by: Identity = STO1) -> Signed:
    return sign(replace(record, origin=by.public), by)


users = st.sampled_from(["glenda", "rob", "ken"])
times = st.integers(0, 5).map(lambda n: TIME + n)


@st.composite
def record_lists(draw: st.DrawFn, size: int = 12) -> list[Record]:
    """Any records that may meet: names, and what anybody says about them, right or not."""
    names: list[Record] = []
    records: list[Record] = []
    for seq in range(1, draw(st.integers(1, size)) + 1):
        by = draw(st.sampled_from([STO1, STO2]))
        user, time = draw(users), draw(times)
        action = draw(st.sampled_from(list(Action))) if names else Action.NAME
        if action is Action.NAME:
            word = draw(st.sampled_from(["usr", "sys"]))
            score = draw(st.sampled_from([ONE, TWO]))
            record = naming(word, score, user=user, time=time, by=by, seq=seq)
            names.append(record)
        else:
            target = draw(st.sampled_from(names))
            shares = [r for r in records if r.action is Action.SHARE and r.full == target.full]
            if action is Action.UNSHARE and not shares:
                action = Action.FORGET
            to = "" if action is Action.FORGET else draw(st.sampled_from(["rob", "ken", EVERYBODY]))
            revokes = (draw(st.sampled_from(shares)).id,) if action is Action.UNSHARE else ()
            record = about(
                target, action, to=to, revokes=revokes, user=user, time=time, by=by, seq=seq
            )
        records.append(record)
    return records
