"""What roots are called on one machine: one lookup over the log of the store and the user's own file."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9 import keys, places
from lib9.waiting import run_now
from tests.venti_store.names.kit import STO1, STO2, TIME, naming, signed
from tests.venti_store.names.stores import disk_book, put_tree
from venti_store.errors import BadScore
from venti_store.names.book import Book
from venti_store.names.errors import AmbiguousName, BadName, NoSuchName, RootIncomplete
from venti_store.names.exchange import Imported, import_lines
from venti_store.names.here import NamesHere, this_user, with_book
from venti_store.names.local import LocalNames, names_file
from venti_store.names.view import Named
from venti_store.names.words import NAME_BYTES_MAX, check_name
from venti_store.score import BLAKE3, SHA1, Score, format_score

ONE, TWO, THREE = (BLAKE3.score(text) for text in (b"1", b"2", b"3"))


@pytest.fixture
def names(home: Path, monkeypatch: pytest.MonkeyPatch) -> NamesHere:
    """Names without a key and without a store."""
    monkeypatch.setattr(places, "_environ", dict(os.environ))
    return NamesHere(os.environ, str(home / "data/venti"))


def test_the_newest_record_of_a_name_counts(names: NamesHere) -> None:
    for time, score in enumerate((ONE, TWO, THREE), 1_700_000_000):
        names.record("usr", score, time * 1_000_000)
    names.record("other", ONE, 5)
    newest = names.newest("usr")
    assert newest == Named("usr", "", THREE, this_user(), 1_700_000_002_000_000)
    assert [n.score for n in names.history("usr")] == [THREE, TWO, ONE]
    assert [names.resolve(text) for text in ("usr", "usr~0", "usr~1", "usr~2")] == [
        THREE,
        THREE,
        TWO,
        ONE,
    ]
    with pytest.raises(NoSuchName, match="only 3"):
        names.resolve("usr~3")


def test_a_missing_file_knows_no_names_and_appears_when_one_is_recorded(names: NamesHere) -> None:
    assert names.newest("usr") is None
    with pytest.raises(NoSuchName, match="no such name, and not a score"):
        names.resolve("usr")
    names.record("usr", ONE, 0)
    assert names.resolve("usr") == ONE


def test_what_another_program_appended_is_seen(names: NamesHere) -> None:
    names.record("usr", ONE, 0)
    assert names.resolve("usr") == ONE
    LocalNames(names.local.file, "any").record("usr", TWO, 0)
    assert names.resolve("usr") == TWO


def test_the_file_is_ndb_that_anyone_may_write(names: NamesHere) -> None:
    names.record("usr", ONE, TIME)
    file = Path(names.local.file)
    assert file.read_text() == (
        f"scorename=usr rootscore={format_score(ONE)} time=2023-11-14T22:13:20Z\n"
    )
    with file.open("a") as lines:
        lines.write(
            f"# by hand\nscorename=usr\n\trootscore={TWO.hex()}\nscorename=usr rootscore=x\n"
        )
    # the last of the file is the newest, whatever time it says
    assert [n.score for n in names.history("usr")] == [TWO, ONE]


def test_scores_are_themselves_whatever_names_there_are(names: NamesHere) -> None:
    for score in (ONE, SHA1.score(b"1")):
        assert names.resolve(score.hex()) == names.resolve(format_score(score)) == score


def test_the_first_digits_of_a_known_score(names: NamesHere) -> None:
    near = Score(ONE[:4] + bytes(28))
    names.record("one", ONE, 0)
    names.record("again", ONE, 0)
    assert names.resolve(ONE.hex()[:6]) == names.resolve("vac:" + ONE.hex()[:10]) == ONE
    names.record("near", near, 0)
    with pytest.raises(AmbiguousName, match=r"ambiguous: .*\(again\).*\(near\)"):
        names.resolve(ONE.hex()[:8])
    assert names.resolve(ONE.hex()[:12]) == ONE
    with pytest.raises(NoSuchName):
        names.resolve("123456")
    with pytest.raises(BadScore):
        names.resolve("vac:12345")


def test_a_name_of_digits_comes_before_a_score_that_begins_so(names: NamesHere) -> None:
    names.record("one", ONE, 0)
    names.record(ONE.hex()[:8], TWO, 0)
    assert names.resolve(ONE.hex()[:8]) == TWO


@pytest.mark.parametrize("name", ["", "a/b", "$(id)", "0" * 64, "x" * (NAME_BYTES_MAX + 1)])
def test_what_cannot_be_a_name(names: NamesHere, name: str) -> None:
    with pytest.raises(BadName):
        names.record(name, ONE, 0)
    assert not Path(names.local.file).exists()


@given(name=st.text(max_size=20))
def test_every_name_that_is_allowed_is_found_again(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        check_name(name)
    except BadName:
        return
    names = LocalNames(str(tmp_path_factory.mktemp("names") / "names"), "me")
    named = names.record(name, ONE, 0)
    assert names.names() == names.names(name) == [named]


def test_where_the_names_are() -> None:
    assert names_file({"XDG_DATA_HOME": "/d", "HOME": "/h"}) == "/d/spawngrid/names"
    assert names_file({"HOME": "/h"}) == "/h/.local/share/spawngrid/names"


@pytest.fixture
def node(names: NamesHere, home: Path) -> NamesHere:
    """Names of a node with a key, which knows sto1 and sto2, and has two trees in its store."""
    config = home / "config/spawngrid"
    keys.create(str(config / "key"))
    (config / "ndb").write_text(
        "".join(
            f"sys={name} pubkey={keys.format_key(by.public)} right=names\n"
            for name, by in (("sto1", STO1), ("sto2", STO2))
        )
    )
    store, _ = disk_book(home / "data/venti")

    async def fill() -> None:
        for word in ("one", "two"):
            await put_tree(store, word)
        await store.aclose()

    run_now(fill())
    return names


def trees() -> tuple[Score, Score]:
    from tests.venti_store.names.stores import tree

    return tree("one")[0], tree("two")[0]


def test_with_a_key_names_go_into_the_log_and_one_history_has_both(
    names: NamesHere, node: NamesHere, home: Path
) -> None:
    one, two = trees()
    node.local.record("usr", ONE, TIME)
    named = node.record("usr", one, TIME + 1)
    assert len(named.nonce) == 16
    assert node.record("usr", two, TIME + 2, comment="c").parent == named.full
    assert [n.score for n in node.history("usr")] == [two, one, ONE]
    assert node.resolve("usr~2") == ONE
    assert node.resolve(named.full) == node.resolve(named.full[:8]) == one
    assert {n.score for n in node.all()} == {ONE, one, two}
    assert node.resolve(two.hex()[:8]) == two
    assert len(Path(node.local.file).read_text().splitlines()) == 1
    with pytest.raises(RootIncomplete):
        node.record("usr", THREE, TIME)
    # a store far away keeps no names of ours
    far = NamesHere(os.environ, "tcp!127.1!17034")
    far.record("far", ONE, TIME)
    assert far.resolve("far") == node.resolve("far") == ONE
    with pytest.raises(NoSuchName):
        far.resolve(named.full)


def test_names_that_went_from_the_file_into_the_log_are_there_once(node: NamesHere) -> None:
    one, two = trees()
    second = 1_000_000
    later = node.record("usr", two, TIME + 9 * second)  # before the others are brought in
    for after, score in ((0, one), (0, two), (1, one), (2, one)):
        node.local.record("usr", score, TIME + after * second)
    meant = [two, one, one, two, one]
    assert [n.score for n in node.history("usr")] == meant

    def bring_in(book: Book) -> Imported:
        text = Path(node.local.file).read_text()
        moment = TIME + 20 * second
        return run_now(
            import_lines(book, BLAKE3, text, user=node.user, now_us=moment, tell=pytest.fail)
        )

    assert with_book(str(node.store), bring_in) == Imported(recorded=4)
    assert with_book(str(node.store), bring_in) == Imported(known=4)
    for _ in range(2):
        history = node.history("usr")
        assert [n.score for n in history] == meant
        assert history[0] == later
        assert history[1].parent == history[2].full
        assert history[-1].parent == ""
        assert [n.name for n in node.all()] == ["usr"] * 5
        assert all(n.origin for n in node.all())
        assert node.find("usr~4").score == one
        Path(node.local.file).unlink(missing_ok=True)


def test_names_of_others_are_found_in_full_by_who_owns_the_store(
    node: NamesHere, home: Path
) -> None:
    one, _ = trees()
    theirs = naming(score=one, user="somebody", by=STO2)
    store, _ = disk_book(home / "data/venti")
    run_now(store.append_names([signed(theirs, STO2).data]))
    run_now(store.aclose())
    with pytest.raises(NoSuchName, match="it is somebody's"):
        node.resolve("usr")
    assert node.resolve(theirs.full) == node.resolve(theirs.full[:10]) == one
    with pytest.raises(NoSuchName):
        node.resolve("usr.000")


def test_a_file_behind_the_log_is_brought_up_and_a_change_of_trust_counts_at_once(
    node: NamesHere, home: Path
) -> None:
    one, _ = trees()
    named = node.record("usr", one, TIME)
    file = home / "data/venti/scorenames"
    text = file.read_text()
    for lost in (None, text.splitlines(keepends=True)[0], text + "torn"):
        file.unlink()
        if lost is not None:
            file.write_text(lost)
        assert node.resolve("usr") == one
        assert file.read_text() == text
    store, _ = disk_book(home / "data/venti")
    run_now(store.append_names([signed(naming(score=one, user=node.user), STO1).data]))
    run_now(store.aclose())
    assert len(node.history("usr")) == 2
    (home / "config/spawngrid/ndb").write_text("")
    assert [n.full for n in node.history("usr")] == [named.full]
