import random

from hypothesis import given
from hypothesis import strategies as st

from tests.venti_store.names.kit import ONE, STO1, STO2, TIME, TWO, about, naming, record_lists
from venti_store.names.record import Action, Record
from venti_store.names.view import Conflict, View


def seen(view: View) -> list[str]:
    return [named.full for named in view.visible()]


@given(records=record_lists(), seed=st.integers())
def test_the_order_of_arrival_means_nothing(records: list[Record], seed: int) -> None:
    shuffled = [*records, *records]
    random.Random(seed).shuffle(shuffled)
    a, b = View(records), View(shuffled)
    assert a.visible() == b.visible()
    assert a.conflicts() == b.conflicts()
    assert [a.last_seq(by.public) for by in (STO1, STO2)] == [
        b.last_seq(by.public) for by in (STO1, STO2)
    ]


@given(records=record_lists(), cuts=st.tuples(st.integers(0, 12), st.integers(0, 12)))
def test_merging_is_commutative_associative_and_idempotent(
    records: list[Record], cuts: tuple[int, int]
) -> None:
    low, high = sorted(cuts)
    a, b, c = View(records[:low]), View(records[low:high]), View(records[high:])
    whole = View(records).visible()
    assert a.merge(b).merge(c).visible() == a.merge(b.merge(c)).visible() == whole
    assert c.merge(b).merge(a).visible() == whole
    assert a.merge(a).visible() == a.visible()


@given(records=record_lists())
def test_only_the_owner_has_a_say(records: list[Record]) -> None:
    owners = {r.full: r.user for r in records if r.action is Action.NAME}
    own = [r for r in records if r.user == owners[r.full]]
    assert View(own).visible() == View(records).visible()


@given(records=record_lists())
def test_what_is_forgotten_stays_forgotten(records: list[Record]) -> None:
    view = View()
    gone: set[str] = set()
    for record in records:
        before = set(seen(view))
        view.add(record)
        gone |= before - set(seen(view))
        assert not gone & set(seen(view))


def test_names_are_ordered_by_time_and_the_owner_forgets() -> None:
    old, new = naming(time=TIME), naming(score=TWO, time=TIME + 1, seq=2)
    assert seen(View([new, old])) == [old.full, new.full]
    assert seen(View([new, about(new, Action.FORGET, seq=3), old])) == [old.full]
    assert seen(View([new, about(new, Action.FORGET, user="rob")])) == [new.full]
    # by way of another node, before the name itself has come
    assert seen(View([about(old, Action.FORGET, by=STO2, seq=1), old])) == []


def test_an_unshare_takes_back_what_its_maker_saw_and_nothing_else() -> None:
    name = naming()
    here = about(name, Action.SHARE, to="rob", seq=2)
    there = about(name, Action.SHARE, to="rob", by=STO2, seq=1)
    back = about(name, Action.UNSHARE, to="rob", revokes=(here.id,), seq=3)
    for records, shared in (
        ([name, here], {"rob"}),
        ([back, here, name], set()),
        ([name, here, back, there], {"rob"}),
        ([name, about(name, Action.SHARE, to="ken", user="rob")], set()),
    ):
        [named] = View(records).visible()
        assert named.shared == shared
        assert named.is_for("glenda")
        assert named.is_for("rob") == ("rob" in shared)


def test_a_number_used_twice_is_told() -> None:
    one, two, other = naming(), naming(score=TWO), naming(by=STO2)
    view = View([one, two, other, naming(time=TIME + 1, seq=4)])
    assert view.conflicts() == [Conflict(STO1.public, 1, tuple(sorted((one.id, two.id))))]
    assert (view.last_seq(STO1.public), view.last_seq(STO2.public), view.last_seq(b"")) == (4, 1, 0)
    assert view.missing_seqs(STO1.public) == 2
    assert set(seen(view)) >= {one.full, two.full}  # neither is lost


def test_two_records_under_one_full_name_are_both_shown() -> None:
    """A node can find two records with equal nonces; then a full name means neither of them."""
    one = naming()
    same = Record(Action.NAME, one.name, one.nonce, "glenda", TIME, STO1.public, seq=9, score=TWO)
    assert [n.score for n in View([one, same]).named(one.full)] == [ONE, TWO]
