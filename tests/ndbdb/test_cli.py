import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lib9.cli import run_command
from ndbdb.cli import ndbcheck, ndbquery

DATA = Path(__file__).parent.parent / "data" / "ndb"
SCRIPTS = Path(sysconfig.get_path("scripts"))


def recorded() -> list[tuple[list[str], list[str]]]:
    """The recorded queries: arguments behind `-f local`, lines printed. Shell quotes were not recorded."""
    cases: list[tuple[list[str], list[str]]] = []
    for line in (DATA / "queries.txt").read_text().splitlines():
        if line.startswith("$ "):
            args = line.removeprefix("$ ndbquery -f local ").split(" ")
            if args[1:3] == ["two", "words"]:
                args[1:3] = ["two words"]
            cases.append((args, []))
        else:
            cases[-1][1].append(line)
    return cases


@pytest.mark.parametrize(("args", "printed"), recorded(), ids=str)
def test_prints_what_was_recorded(
    args: list[str],
    printed: list[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(DATA)
    if printed == ["usage: query attr value [returned attribute]"]:
        with pytest.raises(SystemExit) as stopped:
            ndbquery.parser().parse_args(["-f", "local", *args])
        assert stopped.value.code == 2
        captured = capfd.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("ndbquery: usage: ")
        return
    assert run_command(ndbquery.parser(), ndbquery.main, ["-f", "local", *args]) == 0
    assert capfd.readouterr() == ("".join(f"{line}\n" for line in printed), "")


def ndb(program: str, *args: str, cwd: Path = DATA) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / program, *args], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_installed_command() -> None:
    done = ndb("ndbquery", "-f", "local", "sys", "alpha", "ip")
    assert (done.stdout, done.stderr, done.returncode) == ("10.0.0.1\n", "", 0)


def query(*args: str) -> list[str]:
    return ndb("ndbquery", "-f", "local", *args).stdout.splitlines()


def test_all_and_multiple() -> None:
    assert query("-m", "sys", "beta", "ip") == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert query("-a", "sys", "alpha", "where") == ["common", "extra"]
    assert query("-a", "sys", "beta", "ip") == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert query("-m", "sys", "alpha", "where") == ["common"]
    assert query("-m", "sys", "alpha", "nothere") == query("-a", "sys", "x", "ip") == []


def test_json() -> None:
    [line] = query("--json", "dup", "b")
    assert json.loads(line) == {
        "file": "local", "line": 23, "pairs": [["dup", "a"], ["dup", "b"], ["dup", "c"]],
    }  # fmt: skip
    assert [json.loads(line) for line in query("--json", "-m", "dup", "b", "dup")] == [
        {"file": "local", "line": 23, "attr": "dup", "value": value} for value in "abc"
    ]


def test_bytes_come_out_as_they_went_in(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"sys=a note=\xff\xe9\nsys=\xff x=1\n")
    run = [SCRIPTS / "ndbquery", "-f", "f", "sys"]
    done = subprocess.run([*run, "a", "note"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b"\xff\xe9\n"
    done = subprocess.run([*run, b"\xff", "x"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b"1\n"


def test_no_database_is_not_nothing_found(tmp_path: Path) -> None:
    done = ndb("ndbquery", "-f", "nothere", "sys", "a", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (4, "ndbquery: nothere: no such file\n")
    done = ndb("ndbquery", "-f", ".", "sys", "a", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "ndbquery: .: Is a directory\n")


def test_starts_without_what_is_heavy() -> None:
    code = (
        "import sys; from ndbdb.cli import ndbquery\n"
        "from lib9.cli import run_command\n"
        "run_command(ndbquery.parser(), ndbquery.main, ['-f', 'local', 'sys', 'alpha'])\n"
        "print(*{'trio', 'asyncio', 'lmdb', 'socket'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=DATA, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == b""


def test_ndbcheck_follows_the_listed_files(tmp_path: Path) -> None:
    (tmp_path / "local").write_text("database= file=common file=missing\nsys=a\n")
    (tmp_path / "common").write_text("sys = b\n")
    done = ndb("ndbcheck", "local", "local", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "common:1: white space after '=': sys is empty and 'b' an attribute of its own",
        "missing:0: listed in a database= record, but not there",
    ]
    (tmp_path / "common").write_text("sys=b\n")
    (tmp_path / "missing").write_text("")
    done = ndb("ndbcheck", "--json", "local", cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_ndbcheck_prints_json_and_odd_bytes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_bytes(b"sys='\xff'\n")
    assert run_command(ndbcheck.parser(), ndbcheck.main, ["f"]) == 1
    assert capfd.readouterr().out.splitlines()[1].endswith(r"sys is '\udcff'")
    assert run_command(ndbcheck.parser(), ndbcheck.main, ["--json", "f"]) == 1
    first, _ = map(json.loads, capfd.readouterr().out.splitlines())
    assert first == {"file": "f", "line": 1, "what": "not UTF-8"}
    assert run_command(ndbcheck.parser(), ndbcheck.main, ["nothere"]) == 4
