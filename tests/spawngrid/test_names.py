"""`grid names`, as an operator types it."""

import json
import os
import pwd
from pathlib import Path

import pytest

from tests.commands import mounted, output, run, vac
from tests.venti_store.names.kit import STO2, STRANGER, naming
from venti_store.names.signing import sign

ME = "--user=glenda"


@pytest.fixture
def tree(home: Path) -> Path:
    """A directory with a file, in a home with a key and one known peer."""
    from lib9.keys import format_key

    run("grid", "key", "new")
    peer = f"sys=sto2 pubkey={format_key(STO2.public)} right=names\n"
    (home / "config/spawngrid/ndb").write_text(peer)
    folder = home / "tree"
    folder.mkdir()
    (folder / "file").write_text("one")
    return folder


def errors(*words: str, status: int) -> str:
    return run(*words, status=status).stderr.decode()


def test_a_root_is_named_shared_and_forgotten(tree: Path, home: Path) -> None:
    score = vac("-q", tree)
    full = output("grid", "names", "record", ME, "usr", score)
    assert full.startswith("usr.")
    (tree / "file").write_text("two")
    second = output("grid", "names", "record", ME, "-m", "after lunch", "usr", vac("-q", tree))
    assert [line.split()[0] for line in output("grid", "names", "ls", ME).splitlines()] == [
        full, second,
    ]  # fmt: skip
    assert output("grid", "names", "ls", ME, "other") == ""
    log = output("grid", "names", "log", ME, "usr").splitlines()
    assert log[0].endswith("here after lunch")
    assert log[1].split()[2] == score
    [shown] = [json.loads(output("grid", "names", "show", "--json", ME, "usr"))]
    assert (shown["scorename"], shown["parent"], shown["seq"]) == (second, full, 2)
    assert "came from:   " + full in output("grid", "names", "show", ME, second[:9])
    # who runs this owns the store, and finds what is called in full
    assert output("fossil-cat", f"{full}:file") == "one"
    assert "it is glenda's" in errors("fossil-cat", "usr:file", status=4)

    assert "not shared with rob" in output("grid", "names", "why", "-u", "rob", full, status=4)
    assert "it is glenda's" in errors("grid", "names", "why", "-u", "rob", "usr~1", status=4)
    run("grid", "names", "share", ME, "usr~1", "rob")
    assert json.loads(output("grid", "names", "ls", "--json", "-u", "rob"))["scorename"] == full
    assert output("grid", "names", "why", ME, "usr~1").startswith(f"{full}: visible: glenda's")
    assert "only 2" in errors("grid", "names", "why", ME, "usr~7", status=4)
    assert "visible: glenda shared it" in output("grid", "names", "why", "-u", "rob", full)
    assert "who alone can" in errors("grid", "names", "forget", "-u", "rob", full, status=4)
    run("grid", "names", "unshare", ME, full, "rob")
    assert "hidden: glenda took it" in output("grid", "names", "why", "-u", "rob", full, status=4)
    run("grid", "names", "forget", ME, "usr", "-m", "was wrong")
    assert "forgotten: glenda" in output("grid", "names", "why", ME, second, status=4)
    assert output("grid", "names", "show", ME, "usr", "--json").count(full)
    assert (
        json.loads(output("grid", "names", "why", "--json", ME, "x", status=4))["is"] == "unknown"
    )
    names = home / "data/venti/scorenames"
    assert output("ndbquery", "-f", names, "-a", "user", "glenda", "scorename") == full
    assert run("ndbcheck", names)


def test_names_go_out_and_come_back_as_the_original_wrote_them(tree: Path, home: Path) -> None:
    score = vac("-q", tree)
    lines = home / "lines"
    lines.write_text(
        f"scorename=clean.100 rootscore={score} user=glenda\n\n"
        f"scorename=clean.100 rootscore={score} user=rob\n\n"
        f"scorename=../etc rootscore={score} user=rob\n"
        f"scorename=gone.101 rootscore=vac:{'1' * 64} user=rob\n"
        f"scorename=old.102 rootscore=vac:{'1' * 40} user=rob\n"
    )
    done = run("grid", "names", "import", "--json", lines, status=3)
    assert json.loads(done.stdout) == {"recorded": 2, "known": 0, "pending": 0, "failed": 3}
    said = done.stderr.decode().splitlines()
    assert [line.split(": ")[1] for line in said] == ["../etc", "gone.101", "old.102"]
    assert "another hash" in said[2]
    again = run("grid", "names", "import", "--json", lines, status=3)
    assert json.loads(again.stdout)["known"] == 2
    plain = output("grid", "names", "export", "--all")
    full = json.loads(output("grid", "names", "show", "-u", "rob", "clean.100", "--json"))
    assert plain.splitlines() == [
        f"scorename={full['scorename']} rootscore={score} user={user}" for user in ("glenda", "rob")
    ]
    assert json.loads(
        run("grid", "names", "import", "--json", "-", stdin=plain.encode() + b"\n").stdout
    ) == {"recorded": 0, "known": 2, "pending": 0, "failed": 0}
    assert output("fossil-ls", full["scorename"]) == "file"


def test_signed_records_are_carried_by_hand(tree: Path, home: Path) -> None:
    run("grid", "names", "record", ME, "usr", vac("-q", tree))
    run("grid", "names", "share", ME, "usr", "rob")
    signed = run("grid", "names", "export", "--signed").stdout
    assert signed.count(b" sig=") == 2
    done = run("grid", "names", "import", "--json", "-", stdin=signed)
    assert json.loads(done.stdout)["known"] == 2
    theirs = sign(naming(by=STO2), STO2).data
    foreign = sign(naming(by=STRANGER), STRANGER).data
    forged = theirs[:-3] + b"00\n"
    done = run("grid", "names", "import", "--json", "-", stdin=theirs + foreign + forged, status=3)
    assert json.loads(done.stdout) == {"recorded": 0, "known": 0, "pending": 2, "failed": 1}
    why = output("grid", "names", "why", ME, naming(by=STO2).full, status=4).splitlines()
    assert "pending" in why[0]
    assert "block vac:" in why[1]
    assert "refused: the signature is not that of sto2" in why[2]
    assert "right names" in output("grid", "names", "why", ME, naming(by=STRANGER).full, status=4)


def test_what_an_operator_may_get_wrong(home: Path, tree: Path) -> None:
    score = vac("-q", tree)
    os.rename(home / "config/spawngrid/key", home / "config/spawngrid/away")
    vac("-q", "-a", "mine", tree)
    assert "local" in output("grid", "names", "ls")
    assert "on this machine only" in output("grid", "names", "why", "mine")
    assert "edit " in errors("grid", "names", "forget", "mine", status=2)
    assert "grid key new" in errors("grid", "names", "record", "usr", score, status=2)
    os.rename(home / "config/spawngrid/away", home / "config/spawngrid/key")
    assert "cannot be a name" in errors("grid", "names", "record", "a b", score, status=2)
    assert "cannot be a user" in errors("grid", "names", "ls", "-u", "a/b", status=2)
    assert "not a date" in errors("grid", "names", "show", "mine@noon", status=2)
    assert "no such name" in errors("grid", "names", "show", "other", status=4)
    assert "path of a store" in errors("grid", "names", "why", "-s", "tcp!h!1", "x", status=6)
    missing = "vac:" + "1" * 64
    assert "gets no name" in errors("grid", "names", "record", "usr", missing, status=5)


def test_vac_signs_what_it_names(tree: Path, home: Path) -> None:
    vac("-q", "-a", "usr", tree)
    (tree / "more").write_text("three")
    score = vac("-q", "-a", "usr", tree)
    values = [json.loads(v) for v in output("grid", "names", "log", "--json", "usr").splitlines()]
    assert [v["seq"] for v in values] == [2, 1]
    assert values[0]["rootscore"] == score
    assert values[0]["parent"] == values[1]["scorename"]
    assert not (home / "data/spawngrid/names").exists()
    assert output("fossil-diff", "usr~1", "usr") == "+ more 5"


@pytest.mark.fuse
def test_a_mount_is_saved_under_a_name_that_is_signed(tree: Path, home: Path) -> None:
    vac("-q", "-a", "usr", tree)
    with mounted("usr", home / "mnt") as mnt:
        (mnt / "file").write_text("changed")
        score = output("fossil-save", mnt, "usr")
        (mnt / "file").write_text("again")
        output("fossil-save", mnt, "usr")
    values = [json.loads(v) for v in output("grid", "names", "log", "--json", "usr").splitlines()]
    assert [v["seq"] for v in values] == [3, 2, 1]
    assert values[1]["rootscore"] == score
    with mounted(values[1]["scorename"], home / "mnt") as mnt:
        assert (mnt / "file").read_text() == "changed"
    assert output("fossil-cat", "usr:file") == "again"


def test_an_operator_names_roots_for_users_of_a_node(home: Path) -> None:
    node = home / "config/spawngrid/node.ndb"
    run("grid", "node", "init", "sto1", "--home", home / "sto1", "--run", home / "run-sto1",
        "--listen", "noise!127.0.0.1!27934")  # fmt: skip
    (home / "tree").mkdir()
    score = run("vac", "-q", "-s", home / "sto1/venti", home / "tree").stdout.decode().strip()
    full = output("grid", "names", "record", "-u", "glenda", "clean", score)
    # in the log of the node and signed by it, though the operator has no key and a store of their own
    assert not (home / "data/spawngrid/names").exists()
    shown = ["grid", "names", "show", "--config", node, "-u", "glenda", "clean"]
    assert f"rootscore:   {score}" in output(*shown)
    assert output("grid", "names", "ls", "-u", "glenda").split()[0] == full
    # a user of the grid who is called like the operator sees no more for it
    operator = pwd.getpwuid(os.geteuid()).pw_name
    assert "not shared" in errors("grid", "names", "show", "-u", operator, full, status=4)
