"""The quick way to an answer gives what the long one does, to the byte, or leaves it to that one."""

import io
import os
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout

from hypothesis import example, given
from hypothesis import strategies as st

from ndbdb import grammar, seek, tokens
from ndbdb.cli import ndbquery, quick

# everything that means something in the grammar, and what does not
PIECES = st.sampled_from(
    ["a", "b", "ab", "=", "=", " ", "\n", "\n", "\t", "\r", '"', "#", "é", "\udcff", "\x0b", "\0",
     "a=b", "b=a ", "database", "database=", "x" * 40]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=40).map("".join)
WORDS = st.sampled_from(["a", "b", "ab", "é", "\udcff", "a=b", "database", "", "x" * 40, "\x0b"])


def long_way(argv: list[str]) -> bytes:
    """Return what the parser of arguments and the whole database lead to."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape")
    with redirect_stdout(out):
        ndbquery.main(ndbquery.parser().parse_args(argv))
        out.flush()
        return out.buffer.getvalue()


@given(TEXTS, WORDS, WORDS, st.none() | WORDS, st.sets(st.sampled_from(["-a", "-m"])))
@example('a=b\n\ta="b" c\n', "a", "b", "c", set())
@example("x=1 database\n", "x", "1", None, set())
@example("a=b\na=b c=d\n", "a", "b", "c", set())
@example("a=b c=d", "a", "b", None, set())
def test_the_quick_answer_is_the_long_one(text, attr, value, wanted, flags):
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode(errors="surrogateescape"))
        file.flush()
        found = quick.answer(file.name, attr, value, wanted, "-a" in flags, "-m" in flags)
        rest = [] if wanted is None else [wanted]
        if found is not None:
            assert found == long_way([*flags, "-f", file.name, attr, value, *rest])
        else:
            assert not value or "database" in text


@given(st.lists(st.sampled_from(
    ["-a", "-m", "-f", "--file", "--all", "--multiple", "--json", "-v", "--", "-", "F", "a", "b", "",
     "-am", "-fF", "--file=F"]
), max_size=7))  # fmt: skip
def test_what_needs_no_parser_is_what_a_parser_makes_of_it(argv):
    question = quick.plain(argv)
    if question is None:
        return
    parsed = ndbquery.parser().parse_args(argv)
    expected = ndbquery.parser().parse_args(["ATTR", "VALUE"])
    expected.file, expected.attr, expected.value, expected.rattr = question[:4]
    expected.all, expected.multiple = question[4:]
    assert parsed == expected


@given(TEXTS)
def test_a_line_without_oddities_is_what_the_whole_grammar_makes_of_it(text):
    for line in text.split("\n"):
        assert grammar.pairs_of(line) == [*map(grammar.words_of, tokens.tokens(line))]


@given(TEXTS, st.integers(1, 20))
@example("a=b\n#\n b=a\n", 5)
@example("a=b\n\tb=a\n", 5)
@example("a=b\n\n\nb=a\n", 5)
def test_a_file_is_cut_between_records_wherever_the_buffer_ends(text, size):
    data = text.encode(errors="surrogateescape")
    parts = []
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        for chunk, end in seek.chunks(file.fileno(), size):
            parts.append(bytes(chunk[:end]).decode(errors="surrogateescape"))
    whole = data[: data.rfind(b"\n") + 1].decode(errors="surrogateescape")
    assert "".join(parts) == whole
    cut = [[line for _, line in record] for part in parts for record in grammar.records(part)]
    assert cut == [[line for _, line in record] for record in grammar.records(whole)]


def test_only_the_last_record_asked_for_is_looked_for(tmp_path):
    file = tmp_path / "ndb"
    file.write_text("a=b\na=b c=d\na=b c=e\n")
    found = seek.seek(str(file), "a", "b", lambda lines: ("c", "d") in lines[0])
    assert found == [[[("a", "b")]], [[("a", "b"), ("c", "d")]]]


def test_what_is_no_plain_file_is_left_to_the_database(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "pipe", "rb+", buffering=0):
        assert seek.seek(str(tmp_path / "pipe"), "a", "b") is None
    assert seek.seek(str(tmp_path / "none"), "a", "b") is None
    assert seek.seek(str(tmp_path), "a", "b") is None
    with (tmp_path / "large").open("wb") as file:
        file.truncate(seek.FILE_BYTES_MAX + 1)
    assert seek.seek(str(tmp_path / "large"), "a", "b") is None


def test_the_usual_question_is_answered_without_a_parser_of_arguments(tmp_path):
    file = tmp_path / "ndb"
    file.write_text("sys=alice dial=x\n")
    code = (
        "import sys; from ndbdb.cli.quick import run; sys.argv[1:] = sys.argv[1:]; run();"
        "print({'argparse', 're', 'typing', 'dataclasses'} & set(sys.modules))"
    )
    words = [sys.executable, "-S", "-c", code, "-f", str(file), "sys", "alice", "dial"]
    here = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(quick.__file__)) + "/.."}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=here)
    assert done.stdout == "x\nset()\n"
