"""The scorenames file: what it shows is what the records mean, however it came to be written."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ndbdb.check import check
from ndbdb.parser import parse
from ndbdb.query import Text, lookup, search
from tests.venti_store.names.kit import STO1, STO2, TIME, TWO, about, naming, record_lists
from venti_store.names.page import Numbered, Page, names_in, record_of
from venti_store.names.record import Action, Record
from venti_store.names.view import View
from venti_store.score import format_score

HEAD = "# names of a store\n"


def numbered(records: list[Record]) -> list[Numbered]:
    return [Numbered(number, record) for number, record in enumerate(records, 5)]


def page_of(records: list[Record]) -> Page:
    return Page.empty(HEAD).extended(numbered(records))


@given(records=record_lists(), cuts=st.lists(st.integers(0, 12)), order=st.randoms())
def test_it_shows_what_the_records_mean_however_they_came(
    records: list[Record], cuts: list[int], order
) -> None:
    order.shuffle(records)
    lines = numbered(records)
    grown = Page.empty(HEAD)
    for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), None], strict=True):
        grown = Page(grown.text, HEAD).extended(lines[low:high])
    at_once = page_of(records)
    assert grown.text == at_once.text
    assert grown.is_sound()
    assert grown.number == (lines[-1].number if lines else 0)
    shown = sorted(names_in(grown.text), key=lambda n: (n.time, n.nonce))
    assert shown == View(records).visible()
    for word in ("usr", "sys"):
        assert sorted(names_in(grown.text, word), key=lambda n: (n.time, n.nonce)) == [
            named for named in View(records).visible() if named.name == word
        ]
    assert [record_of(line) for line in grown.text.splitlines(keepends=True)[1:]] == lines
    for by in (STO1, STO2):
        assert grown.last_seq(by.public) == View(records).last_seq(by.public)
    assert not list(check(grown.text))


def test_ndbquery_sees_what_the_original_had() -> None:
    mine, old = naming(comment="name=other number=77"), naming(score=TWO, time=TIME + 1, seq=2)
    share = about(mine, Action.SHARE, to="rob", seq=3)
    page = page_of([mine, old, share, about(old, Action.FORGET, seq=4)])
    text = [Text("scorenames", page.text)]
    users = [m.value("user") for m in search(text, "scorename", mine.full)]
    assert users == ["glenda", "rob"]
    assert lookup(search(text, "scorename", mine.full), "rootscore")[1] == format_score(mine.score)
    assert [m.value("scorename") for m in search(text, "user", "glenda")] == [mine.full]
    assert not list(search(text, "scorename", old.full))
    assert page.number == 8
    assert len(page.text.splitlines()) == 5  # nothing of the log is missing


def test_refused_records_keep_their_place() -> None:
    page = Page.empty(HEAD).extended([Numbered(3, None, "usr.x: key unknown number=99")])
    assert page.number == 3
    assert page.is_sound()
    assert list(parse(page.text)) == []


def test_a_torn_or_foreign_text_is_noticed() -> None:
    page = page_of([naming()])
    assert not Page(page.text[:-1], HEAD).is_sound()
    assert not Page(page.text + "scorename=by-hand rootscore=x\n", HEAD).is_sound()
    assert not Page(page.text, "# another store\n").is_sound()
    assert not Page("", HEAD).is_sound()
    assert Page(HEAD, HEAD).is_sound()


def test_many_records_at_once_and_one_by_one() -> None:
    names = [naming(seq=n, time=TIME + n) for n in range(1, 40)]
    records = [*names, *(about(n, Action.FORGET, seq=100 + k) for k, n in enumerate(names[::3]))]
    page = Page.empty(HEAD)
    for line in numbered(records):
        page = page.extended([line])
    assert page.text == page_of(records).text
    assert names_in("scorename=usr.0123456789abcdef rootscore=x\nx=y\n") == []
    assert replace(names_in(page.text, "usr")[0], shared=frozenset()) == View(names).visible()[1]
