"""Somebody on the wire of a real node: what is played again or changed does nothing, or nothing twice."""

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from lib9 import keys
from ndbdb.database import Database
from spawngrid.client.asking import ask
from spawngrid.client.grids import Storage
from tests.spawngrid.kit import Grid, Node, User, wait_until, with_clean
from tests.spawngrid.relay import Change, Relay, cut, flipped, left_out, play, swapped, twice

pytestmark = pytest.mark.timeout(300)
FALSE = "a message fails its authentication"
HELLO, SERVICE, ASK = 0, 1, 2  # frames of a client
ANSWER, VERDICT, QUEUED, DONE = 0, 1, 2, 3  # frames of a node


@pytest.fixture(scope="module")
def node(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Node:
    return with_clean(grid.storage(), tmp_path_factory.mktemp("root") / "root")


@pytest.fixture(scope="module")
def glenda(grid: Grid, node: Node) -> User:
    return grid.user(node, "glenda")


@pytest.fixture(scope="module")
def bob(grid: Grid, node: Node) -> User:
    return grid.user(node, "bob")


def log_lines(node: Node, text: str) -> int:
    return Path(node.config.place("log", "node.log")).read_text().count(text)


def kept(node: Node) -> dict[str, object]:
    """Return all that requests leave behind: the queue, the names, the audit log, who is known."""
    config = node.config
    places = ("requests/queued", "requests/done", "requests/answers", "environments", "admitted")
    names = {place: sorted(p.name for p in Path(config.place(place)).iterdir()) for place in places}
    files = {f: Path(f).read_bytes() for f in (config.peers_file, config.place("log", "audit"))}
    recorded = node.grid_command("names", "ls", "--json").stdout
    return {**names, **files, "names": recorded}


def rerouted(user: User, port: int, own: int) -> None:
    """Let a user's programs find the node at another port."""
    for file in [user.home / "config/spawngrid/ndb", *(user.home / "cache").rglob("e")]:
        if file.is_file():
            file.write_text(file.read_text().replace(f"!{own}", f"!{port}"))


def test_what_was_said_is_played_again(grid: Grid, node: Node, glenda: User, bob: User) -> None:
    port = node.config.listen.port
    relay = Relay(port)
    try:
        token = node.grid_command("user", "add", "rob").stdout.decode().strip()
        rob = User(grid, "rob")
        rob("join", token.replace(f",{port}/", f",{relay.port}/"))
        rerouted(glenda, relay.port, port)
        glenda("spawn", "clean", "--as", "e", "--network", "none")
        rerouted(glenda, relay.port, port)
        glenda("run", "e", "true")
        rerouted(glenda, relay.port, port)  # the cpu node, which was asked for just now
        glenda("run", "e", "sh", "-c", "echo once >> /count")
        glenda("share", "bob", "clean")
        glenda("save", "e", "mine")
        wait_until(lambda: all(recorded.ended for recorded in relay.recorded))
        said = [recorded for recorded in relay.recorded if recorded.client]
        assert len(said) >= 6
        before = kept(node)
        turned_away = log_lines(node, f"turned away: {FALSE}")
        for recorded in said:
            for turns in (True, False):
                answers = play(port, recorded.client, turns=turns)
                assert len(answers) in ((1,) if turns else (0, 1)), "a handshake, and no verdict"
                assert recorded.node[ANSWER] not in answers
        wait_until(lambda: log_lines(node, f"turned away: {FALSE}") == turned_away + 2 * len(said))
        assert kept(node) == before
        assert glenda("run", "e", "cat", "/count") == "once\n"
        glenda("boom", "e")
        [*_, ended] = relay.recorded
        glenda("spawn", "clean", "--as", "e", "--network", "none")
        assert len(play(port, ended.client, turns=True)) == 1
        assert glenda.json("status")[1]["state"] == "running", "boom was not said again"
    finally:
        rerouted(glenda, port, relay.port)
        glenda.run("boom", "e", status=None)
        relay.close()
    assert node.doctor()["down"] == []


CHANGED_BY_CLIENT: dict[str, tuple[Change, str]] = {
    "flip-hello": (flipped(HELLO, 10), f"turned away: {FALSE}"),
    "flip-static": (flipped(HELLO, 40), f"turned away: {FALSE}"),
    "flip-size": (flipped(HELLO, 0), "turned away: frame of 16480 bytes, the limit is 96"),
    "flip-service": (flipped(SERVICE, 5), f"turned away: {FALSE}"),
    "flip-ask": (flipped(ASK, 20), f"glenda: cut off: {FALSE}"),
    "flip-tag": (flipped(ASK, -1), f"glenda: cut off: {FALSE}"),
    "twice-hello": (twice(HELLO), f"turned away: {FALSE}"),
    "twice-service": (twice(SERVICE), f"glenda: cut off: {FALSE}"),
    "twice-ask": (twice(ASK), f"glenda: cut off: {FALSE}"),
    "swap": (swapped(SERVICE), f"turned away: {FALSE}"),
    "no-service": (left_out(SERVICE), f"turned away: {FALSE}"),
    "cut-hello": (cut(HELLO), "turned away: the connection was cut"),
    "cut-service": (cut(SERVICE), "turned away: the connection was cut"),
    "cut-ask": (cut(ASK), ""),  # as of a client that was ended: nothing to tell an operator
}
CHANGED_BY_NODE: dict[str, Change] = {
    "flip-answer": flipped(ANSWER, 10),
    "flip-verdict": flipped(VERDICT, 4),
    "flip-queued": flipped(QUEUED, 4),
    "flip-done": flipped(DONE, 4),
    "twice-verdict": twice(VERDICT),
    "twice-queued": twice(QUEUED),
    "swap-verdict": swapped(VERDICT),
    "swap-queued": swapped(QUEUED),
    "cut-queued": cut(QUEUED),
    "cut-done": cut(DONE),
}


def requests_with(node: Node, word: str) -> list[str]:
    """Return the requests that have this word, in the queue or answered."""
    folder = Path(node.config.place("requests"))
    files = [*(folder / "queued").iterdir(), *(folder / "done").iterdir()]
    return [file.name for file in files if re.search(rf"\bword={word}\b", file.read_text())]


def test_what_is_changed_on_its_way(node: Node, glenda: User) -> None:
    """A connection that was changed ends; what its client asked is asked again, and done once."""
    port = node.config.listen.port
    identity = keys.load(str(glenda.home / "config/spawngrid/key"))
    [record] = Database(str(glenda.home / "config/spawngrid/ndb")).records()
    public = keys.parse_key(record.need("pubkey"))
    cases = {f"c-{n}": (change, iter) for n, (change, _) in CHANGED_BY_CLIENT.items()}
    cases |= {f"n-{n}": (iter, change) for n, change in CHANGED_BY_NODE.items()}
    refusals = Counter(text for _, text in CHANGED_BY_CLIENT.values() if text)
    before = {text: log_lines(node, text) for text in refusals}

    def asked(case: str) -> int:
        client, back = cases[case]
        with closing(Relay(port, client=client, node=back)) as relay:
            storage = Storage("sto1", f"noise!127.0.0.1!{relay.port}", public)
            assert list(ask(storage, identity, ("scores", case))) == []
            return len(relay.recorded)

    with ThreadPoolExecutor(8) as pool:
        connections = dict(zip(cases, pool.map(asked, cases), strict=True))
    harmless = {"c-twice-ask"}  # what was authentic was answered before the rest was looked at
    for case, count in connections.items():
        assert (count == 1) if case in harmless else (count == 2), case
        assert len(requests_with(node, case)) == 1, case
    wait_until(
        lambda: all(log_lines(node, t) >= before[t] + count for t, count in refusals.items())
    )
    assert glenda("whoami") == "glenda\n"


def test_answers_of_another_day(node: Node, glenda: User) -> None:
    """A client is not told what was told it before."""
    port = node.config.listen.port
    identity = keys.load(str(glenda.home / "config/spawngrid/key"))
    [record] = Database(str(glenda.home / "config/spawngrid/ndb")).records()
    public = keys.parse_key(record.need("pubkey"))
    with closing(Relay(port)) as relay:
        storage = Storage("sto1", f"noise!127.0.0.1!{relay.port}", public)
        assert list(ask(storage, identity, ("scores", "clean")))
    [old] = relay.recorded

    def as_before(_coming: Iterator[bytes]) -> list[bytes]:
        next(_coming)
        return old.node

    with closing(Relay(port, node=as_before)) as relay:
        storage = Storage("sto1", f"noise!127.0.0.1!{relay.port}", public)
        assert list(ask(storage, identity, ("scores", "nothing-of-this-name"))) == []
        assert len(relay.recorded) == 2
