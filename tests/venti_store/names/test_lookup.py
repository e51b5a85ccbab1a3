import pytest

from tests.venti_store.names.kit import ONE, TIME, TWO
from venti_store.names.errors import AmbiguousName, NoSuchName
from venti_store.names.lookup import choose, history, words_of
from venti_store.names.view import Named
from venti_store.names.words import parse_reference
from venti_store.score import Score

DAY = 86_400_000_000


def named(
    nonce: str, time: int = TIME, *, owner: str = "glenda", score: Score = ONE, shared: str = ""
) -> Named:
    return Named("usr", nonce.ljust(16, "0"), score, owner, time, frozenset(shared.split()))


OLD, MIDDLE, NEW = (named(d * 4, TIME + n * DAY) for n, d in enumerate("abc"))
MINE = [MIDDLE, NEW, OLD]


def look(text: str, names: list[Named], user: str = "glenda") -> Named:
    reference = parse_reference(text)
    return choose(reference, [n for n in names if n.name in words_of(reference)], user)


def test_the_newest_and_those_before() -> None:
    assert history(MINE, "glenda") == [NEW, MIDDLE, OLD]
    assert [look(text, MINE) for text in ("usr", "usr~0", "usr~1", "usr~2")] == [
        NEW, NEW, MIDDLE, OLD,
    ]  # fmt: skip
    with pytest.raises(NoSuchName, match="only 3"):
        look("usr~3", MINE)


def test_as_of_a_date() -> None:
    assert look("usr@2023-11-14", MINE) == OLD
    assert look("usr@2023-11-15T22:13:19", MINE) == OLD
    assert look("usr@2023-11-15T22:13:20", MINE) == MIDDLE
    assert look("usr@2040-01-01", MINE) == NEW
    with pytest.raises(NoSuchName, match="the first record of this name is of 2023-11-14"):
        look("usr@2023-11-13", MINE)


def test_the_beginning_of_a_nonce() -> None:
    assert look("usr.bbbb000000000000", MINE) == MIDDLE
    assert look("usr.bbb", MINE) == MIDDLE
    with pytest.raises(AmbiguousName, match=r"usr.aaaa0000.*usr.aaa1"):
        look("usr.aaa", [*MINE, named("aaa1")])
    with pytest.raises(NoSuchName):
        look("usr.ddd", MINE)
    with pytest.raises(NoSuchName):
        look("usr.bbbb000000000001", MINE)


def test_a_user_sees_what_is_theirs_or_shared_and_their_own_comes_first() -> None:
    theirs = named("dddd", TIME + 9 * DAY, owner="rob", score=TWO, shared="glenda")
    assert look("usr", [*MINE, theirs]) == NEW
    assert look("usr", [theirs]) == theirs
    assert look("usr.ddd", [*MINE, theirs]) == theirs
    assert look("usr", [*MINE, theirs], "rob") == theirs
    with pytest.raises(NoSuchName, match="not shared with rob: it is glenda's"):
        look("usr", MINE, "rob")
    with pytest.raises(NoSuchName, match="not shared with rob"):
        look("usr.aaaa000000000000", MINE, "rob")
    assert look("usr", [named("eeee", shared="*")], "anybody")
    with pytest.raises(NoSuchName, match="no such name"):
        look("other", [])
