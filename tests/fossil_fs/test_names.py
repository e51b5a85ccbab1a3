from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fossil_fs.names import (
    NAME_BYTES_MAX,
    AmbiguousScore,
    BadName,
    Named,
    Names,
    NoSuchName,
    check_name,
    names_file,
)
from venti_store.errors import BadScore
from venti_store.score import BLAKE3, SHA1, Score, format_score

ONE, TWO, THREE = (BLAKE3.score(text) for text in (b"1", b"2", b"3"))


@pytest.fixture
def names(tmp_path: Path) -> Names:
    return Names(str(tmp_path / "below" / "names"))


def test_the_newest_record_of_a_name_counts(names: Names) -> None:
    for time, score in enumerate((ONE, TWO, THREE), 1_700_000_000):
        names.record("usr", score, time)
    names.record("other", ONE, 5)
    assert names.newest("usr") == Named("usr", THREE, 1_700_000_002)
    assert [n.score for n in names.history("usr")] == [THREE, TWO, ONE]
    assert [names.resolve(text) for text in ("usr", "usr~0", "usr~1", "usr~2")] == [
        THREE,
        THREE,
        TWO,
        ONE,
    ]
    with pytest.raises(NoSuchName, match="only 3"):
        names.resolve("usr~3")


def test_a_missing_file_knows_no_names_and_appears_when_one_is_recorded(names: Names) -> None:
    assert names.newest("usr") is None
    with pytest.raises(NoSuchName, match="no such name"):
        names.resolve("usr")
    names.record("usr", ONE, 0)
    assert names.resolve("usr") == ONE


def test_what_another_program_appended_is_seen(names: Names) -> None:
    names.record("usr", ONE, 0)
    assert names.resolve("usr") == ONE
    Names(names.file).record("usr", TWO, 0)
    assert names.resolve("usr") == TWO


def test_the_file_is_ndb_that_anyone_may_write(names: Names) -> None:
    names.record("usr", ONE, 1_700_000_000)
    text = Path(names.file).read_text()
    assert text == f"scorename=usr rootscore={format_score(ONE)} time=2023-11-14T22:13:20Z\n"
    with open(names.file, "a") as file:
        file.write(
            f"# by hand\nscorename=usr\n\trootscore={TWO.hex()}\nscorename=usr rootscore=x\n"
        )
    assert [n.score for n in names.history("usr")] == [TWO, ONE]


def test_scores_are_themselves_whatever_names_there_are(names: Names) -> None:
    for score in (ONE, SHA1.score(b"1")):
        assert names.resolve(score.hex()) == names.resolve(format_score(score)) == score


def test_the_first_digits_of_a_known_score(names: Names) -> None:
    near = Score(ONE[:4] + bytes(28))
    names.record("one", ONE, 0)
    names.record("again", ONE, 0)
    assert names.resolve(ONE.hex()[:6]) == names.resolve("vac:" + ONE.hex()[:10]) == ONE
    names.record("near", near, 0)
    with pytest.raises(AmbiguousScore, match=r"ambiguous: .*\(again\).*\(near\)"):
        names.resolve(ONE.hex()[:8])
    assert names.resolve(ONE.hex()[:12]) == ONE
    with pytest.raises(NoSuchName):
        names.resolve("123456")
    with pytest.raises(BadScore):
        names.resolve("vac:12345")


def test_a_name_of_digits_comes_before_a_score_that_begins_so(names: Names) -> None:
    names.record("one", ONE, 0)
    names.record(ONE.hex()[:8], TWO, 0)
    assert names.resolve(ONE.hex()[:8]) == TWO


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a b", "a/b", "a~1", "a=b", 'a"b', "a'b", "#a", "-a", "a:b", "a\n", "a\0"),
        *("vac:" + "0" * 64, "0" * 64, "F" * 40, "\x9b", "x" * (NAME_BYTES_MAX + 1)),
    ],
)
def test_what_cannot_be_a_name(names: Names, name: str) -> None:
    with pytest.raises(BadName):
        names.record(name, ONE, 0)
    assert not Path(names.file).exists()


@pytest.mark.parametrize("name", ["usr", "größe", "a-b_c.d", "0" * 39, "x" * NAME_BYTES_MAX])
def test_what_can_be_a_name(names: Names, name: str) -> None:
    names.record(name, ONE, 0)
    assert names.resolve(name) == ONE


@given(name=st.text(max_size=20))
def test_every_name_that_is_allowed_is_found_again(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        check_name(name)
    except BadName:
        return
    names = Names(str(tmp_path_factory.mktemp("names") / "names"))
    names.record(name, ONE, 0)
    assert names.resolve(name) == ONE
    assert names.all() == [Named(name, ONE, 0)]


def test_where_the_names_are() -> None:
    assert names_file({"XDG_DATA_HOME": "/d", "HOME": "/h"}) == "/d/spawngrid/names"
    assert names_file({"HOME": "/h"}) == "/h/.local/share/spawngrid/names"
