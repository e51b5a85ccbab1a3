"""What vac says while it runs: counts on a terminal, nothing elsewhere; the score last and alone."""

import os
import sys
from pathlib import Path

import pexpect
import pytest

from tests.fossil_fs.trees import run


@pytest.fixture
def tree(home: Path) -> Path:
    for number in range(30):
        (home / "tree" / f"d{number}").mkdir(parents=True)
        (home / "tree" / f"d{number}" / "file").write_text("x")
    return home / "tree"


def test_counts_are_shown_on_a_terminal_and_wiped_out(tree: Path) -> None:
    program = (
        "import fossil_fs.cli.progress as p, fossil_fs.ingest.walk as w, time, sys;"
        "p._EVERY_SECONDS = 0.001;"
        "really = w.list_directory;"
        "w.list_directory = lambda *a: (time.sleep(0.005), really(*a))[1];"
        "from fossil_fs.cli.vac import run;"
        f"sys.argv = ['vac', {str(tree)!r}]; sys.exit(run())"
    )
    child = pexpect.spawn(
        sys.executable, ["-c", program], env={**os.environ, "TERM": "dumb"}, timeout=60
    )
    child.expect(r"\d+ files, [^\r]*tree/d\d+")
    child.expect(r"30 files in 31 directories, 30 B, .* new \(.* compressed\)")
    child.expect(r"vac:[0-9a-f]{64}\r\n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_elsewhere_only_the_summary_and_the_score(tree: Path) -> None:
    done = run("vac", tree)
    made, summary = done.stderr.splitlines()
    assert made.startswith("made the store ")
    assert summary.startswith("30 files in 31 directories")
    assert "\x1b" not in done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert run("vac", tree / "d0").stderr.startswith("1 file in 1 directory, ")
    quiet = run("vac", "-q", tree)
    assert (quiet.stderr, quiet.stdout) == ("", done.stdout)


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (["/nonexistent"], 1, "/nonexistent: No such file or directory"),
        (["-b", "3", "/"], 2, "blocks of 3 bytes"),
        (["-b", "x", "/"], 2, "not a size"),
        (["-j", "-1", "/"], 2, "not a number of processes"),
        (["/etc", "/usr/../etc"], 2, "the same last name"),
        (["/etc", "/"], 2, "has no last name"),
        ([], 2, "usage"),
    ],
)
def test_bad_input_is_one_line_and_a_status(
    home: Path, words: list[str], status: int, why: str
) -> None:
    run("venti", "init", home / "store")
    done = run("vac", "-s", home / "store", *words, check=False)
    assert (done.returncode, done.stdout) == (status, "")
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_store_on_another_family_is_classic(home: Path, tree: Path) -> None:
    run("venti", "init", "--hash", "sha1", home / "classic")
    score = run("vac", "-q", "-s", home / "classic", tree).stdout.strip()
    assert len(score) == 4 + 40
    run("unvac", "-s", home / "classic", score, home / "out")
    assert (home / "out" / "d3" / "file").read_text() == "x"
