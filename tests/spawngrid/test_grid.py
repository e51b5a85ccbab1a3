"""A grid of one node that is both storage and cpu node, with either sort of dispatchers."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import environment
from tests.spawngrid.kit import EXAMPLES, Grid, Node, User, busybox, wait_until

pytestmark = pytest.mark.timeout(300)
PATIENCE = 200.0  # scripts in place of the dispatchers start dozens of programs


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busybox(tmp_path_factory.mktemp("root") / "root")


@pytest.fixture(scope="module", params=["python", "sh"])
def node(request: pytest.FixtureRequest, grid: Grid, tree: Path) -> Node:
    """The node; its dispatchers are ours or the scripts of the examples."""
    kind = request.param
    more = {}
    if kind == "sh":
        more = {service: str(EXAMPLES / f"{service}.sh") for service in ("stosvc", "cpusvc")}
    made = grid.storage(f"sto-{kind}", **more)
    made.start()
    made.record("glenda", "clean", made.vac(tree))
    return made


@pytest.fixture(scope="module")
def glenda(grid: Grid, node: Node) -> User:
    return join(grid, node, "glenda")


@pytest.fixture(scope="module")
def bob(grid: Grid, node: Node) -> User:
    return join(grid, node, "bob")


def join(grid: Grid, node: Node, name: str) -> User:
    token = node.grid_command("user", "add", name).stdout.decode().strip()
    user = User(grid, f"{name}-{node.name}")
    assert user("join", token) == f"you are {name}\n"
    return user


def test_spawn_work_save_and_spawn_what_was_saved(glenda: User, node: Node) -> None:
    assert glenda("whoami") == "glenda\n"
    assert glenda("scores").startswith("clean.")
    assert "clean serving on cpu" in glenda("spawn", "clean")
    assert glenda.json("status")[1]["state"] == "running"
    assert glenda("run", "clean", "hostname") == "clean\n"
    glenda("run", "clean", "sh", "-c", "echo mine > /etc/mine")
    assert "mine saved" in glenda("save", "clean", "mine")
    glenda("run", "clean", "sh", "-c", "echo later > /etc/mine")
    assert [row["name"].split(".")[0] for row in glenda.json("log", "mine")] == ["mine"]
    assert "+ etc/mine 5" in glenda("diff", "clean", "mine")
    assert "again serving" in glenda("spawn", "mine", "--as", "again", "--network", "none")
    assert glenda("run", "again", "cat", "/etc/mine") == "mine\n"
    assert {row["env"] for row in glenda.json("status")[1:]} == {"clean", "again"}
    wait_until(lambda: [row["environments"] for row in glenda.json("nodes")] == ["2"])
    assert "clean BOOMed" in glenda("boom", "clean")
    assert "again BOOMed" in glenda("kill", "again")
    assert glenda("status") == "active grid namespaces for glenda\n"
    wait_until(lambda: node.orphans() == [])


def test_streams_and_exit_status(glenda: User) -> None:
    glenda("spawn", "clean")
    try:
        script = "cat; echo err >&2; exit 7"
        done = glenda.run("run", "clean", "sh", "-c", script, status=7, stdin=b"in\n" * 1000)
        assert done.stdout == b"in\n" * 1000
        assert done.stderr == b"err\n"
        big = bytes(range(256)) * (12 << 10)
        assert glenda.run("run", "clean", "cat", stdin=big).stdout == big
        assert glenda.run("run", "clean", "no-such-command", status=127).stdout == b""
        glenda.run("run", "clean", "sh", "-c", "kill -TERM $$", status=128 + 15)
        assert glenda("run", "clean", "echo", "$(id)", "a b", "*", "--x") == "$(id) a b * --x\n"
        assert "/bin/sh -i" in glenda("ps", "clean")
    finally:
        glenda("boom", "clean")


def test_what_is_whose(glenda: User, bob: User) -> None:
    glenda("spawn", "clean")
    try:
        assert bob("status") == "active grid namespaces for bob\n"
        assert bob("scores") == ""
        for words in (
            ("boom", "clean"),
            ("save", "clean", "stolen"),
            ("invite", "bob", "clean"),
            ("run", "clean", "true"),
            ("run", "glenda/clean", "true"),
            ("ps", "clean"),
            ("spawn", "clean"),
            ("share", "bob", "clean"),
            ("log", "clean"),
            ("diff", "clean", "clean"),
        ):
            assert "glenda" not in bob.refused(*words).replace("glenda/clean", ""), words
        [place] = glenda.json("status", "clean")[1:]
        assert place["state"] == "running"
        glenda("invite", bob.name.split("-")[0], "clean")
        assert bob("run", "glenda/clean", "hostname") == "clean\n"
        assert bob("run", "clean", "hostname") == "clean\n"
        assert "not owned by bob" in bob.refused("boom", "clean")
        assert "not owned by bob" in bob.refused("save", "clean", "stolen")
        glenda("share", "bob", "clean")
        assert bob("scores").startswith("clean.")
        bob("spawn", "clean", "--as", "his")
        bob("boom", "his")
        glenda("unshare", "bob", "clean")
        assert bob("scores") == ""
        assert "not found for bob" in bob.refused("spawn", "clean")
    finally:
        glenda("boom", "clean")


STAYS = ["run", "glenda/clean", "sh", "-c", "echo in; exec sleep 1000"]


def ends_inside(guest: User, said: Path, act: Callable[[], object]) -> str:
    """Let a guest run something, do what ends it, and return what the guest is told."""
    with open(said, "wb") as out, guest.start(*STAYS, stdout=out) as inside:
        wait_until(lambda: said.read_bytes() == b"in\n", PATIENCE)
        act()
        assert inside.wait(PATIENCE) == 1
    return said.read_text().removeprefix("in\n")


@pytest.mark.timeout(600)
def test_who_is_forgotten_enters_no_longer(grid: Grid, node: Node, glenda: User) -> None:
    """`grid user rm` ends what runs, and nothing can be begun."""
    rob = join(grid, node, "rob")
    glenda("spawn", "clean", "--network", "none")
    try:
        glenda("invite", "rob", "clean")
        ends_inside(rob, grid.home / "said", lambda: node.grid_command("user", "rm", "rob"))
        wait_until(lambda: "not known here" in rob.refused("run", "clean", "true"), PATIENCE)
        assert "not known here" in rob.refused("scores")
        assert "sleep 1000" not in glenda("ps", "clean")
        assert glenda("run", "clean", "hostname") == "clean\n"
    finally:
        glenda("boom", "clean")


def test_who_is_uninvited_enters_no_longer(glenda: User, bob: User, grid: Grid) -> None:
    glenda("spawn", "clean", "--network", "none")
    try:
        glenda("invite", "bob", "clean")
        told = ends_inside(bob, grid.home / "told", lambda: glenda("uninvite", "bob", "clean"))
        assert told == "grid: you may not enter this any longer\n"
        assert "no such environment" in bob.refused("run", "glenda/clean", "true")
        glenda("invite", "bob", "clean")
        assert bob("run", "glenda/clean", "hostname") == "clean\n"
    finally:
        glenda("boom", "clean")


def test_hostile_names_do_nothing_but_fail(glenda: User, node: Node, tmp_path: Path) -> None:
    before = glenda("scores")
    mark = tmp_path / "mark"
    hostile = [f"$(touch {mark})", f"x;touch {mark}", "../clean", "..", "a\nboom clean", "a b", "*"]
    for name in hostile:
        for words in (("spawn", "--", name), ("boom", "--", name)):
            assert glenda.run(*words, status=None).returncode, words
    assert not mark.exists()
    assert glenda("scores") == before
    assert glenda("status") == "active grid namespaces for glenda\n"
    assert node.orphans() == []


def test_nobody_reads_by_score(glenda: User, node: Node) -> None:
    storage = next(
        line
        for line in (glenda.home / "config/spawngrid/ndb").read_text().split()
        if "dial=" in line
    )
    address = storage.removeprefix("dial=")
    done = subprocess.run(
        ["venti", "read", "vac:" + "ab" * 32],
        env=environment({**glenda.variables, "venti": address}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode
    assert b"glenda has no right to venti here" in done.stderr


def test_the_hub_interface(glenda: User, bob: User, tmp_path: Path) -> None:
    """The original's way: mount gridsvc, type a line, read what is said."""
    record = (glenda.home / "config/spawngrid/ndb").read_text()
    address = next(w for w in record.split() if w.startswith("dial=")).removeprefix("dial=")
    points = {user: tmp_path / user.name for user in (glenda, bob)}
    try:
        for user, point in points.items():
            point.mkdir()
            (user.home / "run").mkdir(exist_ok=True, mode=0o700)
            subprocess.run(
                ["hubfs", "-r", address, str(point)],
                env=environment(user.variables),
                check=True,
                timeout=60,
            )
        mine, other = points[glenda], points[bob]
        reader = subprocess.Popen(["cat", mine / "out/glenda"], stdout=subprocess.PIPE)
        assert reader.stdout is not None
        wait_until(lambda: Path(f"/proc/{reader.pid}/syscall").read_text()[:2] == "0 ")
        try:
            with open(mine / "in/glenda", "ab", buffering=0) as hub:
                hub.write(b"spawn nothing\nscores clean\n")
            said = [reader.stdout.readline().decode().split(" ", 1)[1] for _ in range(3)]
            assert said[0] == "failed 4 nothing not found for glenda\n"
            assert said[1].startswith("clean.")
            assert said[2] == "done\n"
        finally:
            reader.kill()
            reader.communicate()
        own = [f"{way}/glenda" for way in ("in", "out")]
        cpu = [f"cpu.{end}" for end in ("in", "out", "err")]
        for closed in [*own, *cpu, "sto.err", "sto.in", "ctl"]:
            read = subprocess.run(
                ["timeout", "5", "head", "-c1", str(other / closed)],
                capture_output=True,
                check=False,
            )
            assert b"Permission denied" in read.stderr, closed
            assert read.stdout == b""
        for closed in [*own, *cpu, "sto.out", "sto.err"]:
            descriptor = os.open(other / closed, os.O_WRONLY | os.O_APPEND)
            with pytest.raises(PermissionError):
                os.write(descriptor, b"boomed\n")
            os.close(descriptor)
        with pytest.raises(PermissionError):
            list((other / "out").iterdir())
        with pytest.raises(PermissionError):
            (other / "mine").write_text("x")
    finally:
        for point in points.values():
            subprocess.run(["umount", "-l", str(point)], check=False)
