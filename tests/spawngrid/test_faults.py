"""kill -9 of every service at every named point: the request is done all the same, and nothing is left."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import WAIT_SECONDS_MAX, environment
from tests.spawngrid.kit import Grid, Node, User, wait_until, with_clean

pytestmark = pytest.mark.timeout(300)

SPAWN, SAVE, BOOM = "spawn", "save", "boom"
POINTS = [
    ("node", "queue.before-add", SPAWN),
    ("node", "queue.added", SPAWN),
    ("node", "node.before-announce", SAVE),
    ("stosvc", "stosvc.request-taken", SPAWN),
    ("stosvc", "stosvc.kept", SPAWN),
    ("stosvc", "stosvc.before-tell:2", SPAWN),
    ("stosvc", "stosvc.told:2", SAVE),
    ("stosvc", "stosvc.before-record", SAVE),
    ("stosvc", "stosvc.recorded", SAVE),
    ("stosvc", "queue.answered", SAVE),
    ("stosvc", "stosvc.ended", SPAWN),
    ("stosvc", "stosvc.forgotten", BOOM),
    ("stosvc", "files.written:2", BOOM),
    ("cpusvc", "cpusvc.before-start", SPAWN),
    ("cpusvc", "cpusvc.admitted", SPAWN),
    ("cpusvc", "cpusvc.started", SPAWN),
    ("cpusvc", "cpusvc.before-save", SAVE),
    ("cpusvc", "cpusvc.saved", SAVE),
    ("cpusvc", "cpusvc.before-stop", BOOM),
    ("cpusvc", "cpusvc.stopped", BOOM),
    ("cpusvc", "cpusvc.before-say:3", SPAWN),
]
QUICK = {"queue.added", "stosvc.recorded", "cpusvc.started"}


@pytest.fixture(scope="module")
def node(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Node:
    return with_clean(grid.storage(), tmp_path_factory.mktemp("root") / "root")


@pytest.fixture(scope="module")
def glenda(grid: Grid, node: Node) -> User:
    return grid.user(node, "glenda")


@pytest.mark.parametrize(
    ("service", "point", "verb"),
    [
        pytest.param(*each, id=each[1], marks=() if each[1] in QUICK else pytest.mark.long)
        for each in POINTS
    ],
)
def test_a_kill_loses_nothing_and_leaves_nothing(
    node: Node, glenda: User, service: str, point: str, verb: str
) -> None:
    if verb != SPAWN:
        glenda("spawn", "clean", "--as", "e", "--network", "none")
        glenda("run", "e", "sh", "-c", f"echo {point} > /etc/mine")
    words = {
        SPAWN: ["spawn", "clean", "--as", "e", "--network", "none"],
        SAVE: ["save", "e", "mine"],
        BOOM: ["boom", "e"],
    }[verb]
    node.kill(service)
    node.start(fault=point)
    with subprocess.Popen(
        [sys.executable, "-m", "spawngrid.cli.grid", *words],
        env=environment(glenda.variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as asking:
        wait_until(lambda: not node.pid(service))
        node.start()
        out, err = asking.communicate(timeout=WAIT_SECONDS_MAX)
    assert asking.returncode == 0, err
    if verb == SPAWN:
        assert glenda("run", "e", "hostname") == "e\n"
    if verb == SAVE:
        assert b"mine saved" in out
        glenda("spawn", "mine", "--as", "again", "--network", "none")
        assert glenda("run", "again", "cat", "/etc/mine").strip() == point
        glenda("boom", "again")
    if verb != BOOM:
        glenda("boom", "e")
    assert glenda("status") == "active grid namespaces for glenda\n"
    wait_until(lambda: node.orphans() == [])
    assert node.doctor()["down"] == []


def test_a_command_is_not_run_again(node: Node, glenda: User, tmp_path: Path) -> None:
    """Its session is lost with the node's service: that is told, and nothing is begun anew."""
    glenda("spawn", "clean", "--as", "e", "--network", "none")
    glenda("run", "e", "true")  # where it is is remembered
    words = ["sh", "-c", "echo once >> /count; echo in; exec sleep 1000"]
    said = tmp_path / "said"
    with open(said, "wb") as out, glenda.start("run", "e", *words, stdout=out) as inside:
        wait_until(lambda: said.read_bytes() == b"in\n")
        node.kill("node")
        node.start()
        assert inside.wait(WAIT_SECONDS_MAX) == 1
    assert said.read_text().endswith("grid: no such session here\n")
    assert glenda("run", "e", "cat", "/count") == "once\n"
    glenda("boom", "e")
    wait_until(lambda: node.orphans() == [])


def test_environments_outlive_all_services(node: Node, glenda: User) -> None:
    glenda("spawn", "clean", "--as", "e", "--network", "none")
    glenda("run", "e", "sh", "-c", "echo mine > /etc/mine")
    for service in ("cpusvc", "stosvc", "node"):
        node.kill(service)
    node.start()
    assert glenda("run", "e", "cat", "/etc/mine") == "mine\n"
    assert "mine saved" in glenda("save", "e", "mine")
    assert [row["state"] for row in glenda.json("status")[1:]] == ["running"]
    glenda("boom", "e")
    wait_until(lambda: node.orphans() == [])


def test_what_a_node_runs_without_a_record_is_taken_away(node: Node, glenda: User) -> None:
    glenda("spawn", "clean", "--as", "e", "--network", "none")
    node.kill("stosvc")
    [record] = (Path(node.config.home) / "environments").glob("[0-9a-z]*")
    record.unlink()
    node.start()
    wait_until(lambda: node.doctor()["environments"] == 0)
    assert glenda("status") == "active grid namespaces for glenda\n"
    wait_until(lambda: node.orphans() == [])
