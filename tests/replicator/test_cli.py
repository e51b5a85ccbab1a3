"""ventiprog and replicate as a user runs them, on one machine."""

import json
import os
import signal
import socket as socket_module
import subprocess

import pytest

from lib9 import keys, places
from tests.commands import environment, output, run, vac
from tests.kit.nodes import wait_for
from tests.kit.serving import serving
from tests.replicator.kit import put_tree, tree
from venti_store import wire
from venti_store.score import SHA1
from venti_store.stores.memory import MemoryStore


@pytest.fixture
def stores(home, tmp_path):
    """Two stores; the names in the first are signed by us."""
    keys.create(str(home / "config/spawngrid/key"))
    places.use(os.environ)
    for name in ("one", "two"):
        run("venti", "init", tmp_path / name)
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(100_000))
    score = vac("-s", tmp_path / "one", "-a", "usr", source)
    return tmp_path / "one", tmp_path / "two", score


def names(store):
    lines = output("grid", "names", "ls", "--json", "-s", store).splitlines()
    return [json.loads(line)["rootscore"] for line in lines]


def test_without_pull_it_pushes_and_the_file_remembers(stores, tmp_path):
    one, two, score = stores
    info = tmp_path / "server.info"
    words = ("ventiprog", "-s", one, "-f", info)
    done = run(*words, two)
    assert b"ventiprog: push" in done.stderr
    assert b"1 name\n" in done.stderr
    assert names(two) == [score]
    run("venti", "check", "-s", two, score)
    assert info.read_text().startswith(f"venti={two}\n# ")
    again = json.loads(output(*words, "--json"))  # the peer is in the file
    assert (again["blocks"], again["known"], again["way"]) == (0, 0, "push")
    assert again["position"] == again["last"]
    everything = json.loads(output(*words, "--json", "--rescan"))
    assert (everything["blocks"], everything["known"]) == (0, again["last"] - 1)


def test_a_file_of_the_original_says_which_peer(stores, tmp_path):
    one, two, score = stores
    info = tmp_path / "server.info"
    info.write_text(f"venti={two}\n# Thu Jan 11 05:17:54 GMT 2018\narenas0=0x1fbbff7b\n")
    run("ventiprog", "-s", one, "-f", info)
    assert names(two) == [score]


def test_both_ways_with_several_peers(stores, tmp_path):
    one, two, score = stores
    run("venti", "init", tmp_path / "three")
    words = (
        "ventiprog",
        "-s",
        tmp_path / "three",
        "-f",
        tmp_path / "info",
        "--pull",
        "--push",
        "--json",
    )
    lines = [json.loads(line) for line in output(*words, one, two).splitlines()]
    assert [line["way"] for line in lines] == ["pull", "push"] * 2
    assert [line["names"] for line in lines] == [1, 0, 0, 1]
    assert names(two) == [score]


def test_what_it_says_when_it_cannot(stores, tmp_path):
    one, _, _ = stores
    info = tmp_path / "server.info"
    ask = ("ventiprog", "-s", one, "-f", info)
    assert b"no venti= says which peer" in run(*ask, status=2).stderr
    assert not info.exists()
    info.touch()
    assert b"no venti= says which peer" in run(*ask, status=2).stderr
    assert b"neither an address nor a node" in run(*ask, "nobody", status=2).stderr
    assert b"ventiprog: tcp!127.0.0.1!1" in run(*ask, "tcp!127.0.0.1!1", status=10).stderr
    run("venti", "init", "--hash", "sha1", tmp_path / "classic")
    assert b"stores differ in hash" in run(*ask, tmp_path / "classic", status=6).stderr


def test_a_name_of_an_unknown_signer_stays_behind(stores, tmp_path, monkeypatch):
    one, two, _ = stores
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    done = run("ventiprog", "-s", two, "-f", tmp_path / "info", "--pull", one, status=3)
    assert b"ventiprog: name not taken: usr." in done.stderr
    assert b"no node here has that key and the right names" in done.stderr


def test_a_signer_who_becomes_known_is_heard_without_asking_for_everything(
    stores, home, tmp_path, monkeypatch
):
    one, two, score = stores
    key = keys.format_key(keys.load(str(home / "config/spawngrid/key")).public)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    pull = ("ventiprog", "-s", two, "-f", tmp_path / "info", "--json", "--pull", one)
    run(*pull, status=3)
    run(*pull)  # nothing new: what was refused is not gone over again
    ndb = tmp_path / "another/spawngrid/ndb"
    ndb.parent.mkdir(parents=True)
    ndb.write_text(f"sys=one pubkey={key} right=names\n")
    done = json.loads(output(*pull))
    assert (done["blocks"], done["names"], done["refused"]) == (0, 1, 0)
    assert names(two) == [score]
    assert "strange" not in (tmp_path / "info").read_text().splitlines()[-1]


def test_the_daemon_hears_a_signer_who_becomes_known(stores, home, tmp_path, monkeypatch):
    one, two, score = stores
    key = keys.format_key(keys.load(str(home / "config/spawngrid/key")).public)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    ndb = tmp_path / "another/spawngrid/ndb"
    ndb.parent.mkdir(parents=True)
    peer = f"sys=one dial=unix!{tmp_path / 'sock'} replicate=pull"
    ndb.write_text(f"{peer}\n")
    serve = subprocess.Popen(
        ["venti", "serve", one, "--listen", f"unix!{tmp_path / 'sock'}"], env=environment(),
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    daemon = subprocess.Popen(
        ["replicate", "-s", two], stderr=subprocess.DEVNULL, env=environment()
    )
    try:
        wait_for(lambda: link("one", "pull").get("refused") == 1, "the name to be refused")
        told = output("replicate", "--status")
        assert "; 1 name refused" in told
        assert "one: refused, the last: usr." in told
        ndb.write_text(f"{peer} pubkey={key} right=names\n")
        wait_for(lambda: names(two) == [score], "the name")
        assert link("one", "pull")["rescans"] == 0
    finally:
        for process in (daemon, serve):
            process.kill()
            process.wait()


def test_a_rotten_name_in_our_own_log_does_not_end_the_daemon(stores, tmp_path, home):
    one, _, _ = stores
    for word in ("sys", "web"):
        vac("-s", one, "-a", word, tmp_path / "source")
    data = (one / "data.mdb").read_bytes()
    at = data.index(b"scorename=sys.")
    with (one / "data.mdb").open("r+b") as file:
        file.seek(at)
        file.write(b"x")
    (home / "config/spawngrid/ndb").write_text("sys=gone dial=unix!/nowhere replicate=pull\n")
    daemon = subprocess.Popen(
        ["replicate", "-s", one], stderr=subprocess.DEVNULL, env=environment()
    )
    try:
        wait_for(lambda: status().get("names_complete") == 2, "the others to be known")
        assert daemon.poll() is None
    finally:
        daemon.kill()
        daemon.wait()


def test_the_daemon_is_asked_how_it_does_and_ends_when_told(stores, tmp_path, home):
    one, two, score = stores
    socket = tmp_path / "sock"
    (home / "config/spawngrid/ndb").write_text(
        f"sys=one dial=unix!{socket} replicate=pull\nsys=gone dial=unix!/nowhere replicate=both\n"
    )
    nobody = run("replicate", "--status", status=10)
    assert nobody.stderr.startswith(b"replicate: ")
    assert nobody.stderr.endswith(b"/replicate.sock: nobody listens there\n")
    serve = subprocess.Popen(["venti", "serve", one, "--listen", f"unix!{socket}"], env=environment(),
                             stdout=subprocess.DEVNULL)  # fmt: skip
    manager = socket_module.socket(socket_module.AF_UNIX, socket_module.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    daemon = subprocess.Popen(
        ["replicate", "-s", two], stderr=subprocess.DEVNULL,
        env=environment({"NOTIFY_SOCKET": str(tmp_path / "notify")}),
    )  # fmt: skip
    try:
        wait_for(lambda: names(two) == [score], "the name")
        wait_for(lambda: link("one", "pull")["state"] == "current", "being current")
        gone = link("gone", "push")
        assert gone["state"] in ("waiting", "connecting")
        assert "nowhere" in gone["failure"]
        found = status()
        assert found["names"][-1]["state"] == "complete"
        assert found["names"][-1]["replicas"] == ["one"]
        text = output("replicate", "--status")
        assert "one: pull unix!" in text
        assert "usr." not in text  # what is complete needs no line
        source = tmp_path / "source"
        (source / "more").write_bytes(os.urandom(1000))
        second = vac("-s", one, "-a", "usr", source)
        wait_for(lambda: second in names(two), "the second name")
        (home / "config/spawngrid/ndb").write_text(f"sys=one dial=unix!{socket} replicate=both\n")
        daemon.send_signal(signal.SIGHUP)
        wait_for(lambda: [k["way"] for k in status()["links"]] == ["pull", "push"], "the new peers")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
        assert not (home / "run/spawngrid/replicate.sock").exists()
        said = [manager.recv(100) for _ in range(4)]
        assert said == [b"READY=1", b"RELOADING=1", b"READY=1", b"STOPPING=1"]
    finally:
        manager.close()
        for process in (daemon, serve):
            process.kill()
            process.wait()


def status():
    done = subprocess.run(
        ["replicate", "--status", "--json"], env=environment(), capture_output=True
    )
    return json.loads(done.stdout) if done.returncode == 0 else {"links": []}


def link(peer, way):
    return next(
        (k for k in status()["links"] if (k["peer"], k["way"]) == (peer, way)), {"state": ""}
    )


async def test_from_a_classic_venti_by_walking_from_roots(monkeypatch, tmp_path):
    from replicator.ends import ClassicEnd, LocalLog, end_of
    from replicator.judging import Honest
    from replicator.positions import Direction, MemoryPositions
    from replicator.step import copy_roots, follow_once
    from venti_store.stores.remote import RemoteStore

    classic = {k: v for k, v in wire.VERSIONS.items() if not v.native}
    there, here = MemoryStore(SHA1), MemoryStore(SHA1, store_id="here")
    made, other = tree(1, family=SHA1), tree(2, family=SHA1)
    await put_tree(there, made)
    async with serving(there) as server:
        with monkeypatch.context() as m:
            m.setattr(wire, "VERSIONS", classic)
            store = await RemoteStore.open("there", server.connect)
        end = end_of(store, "there")
        assert isinstance(end, ClassicEnd)
        outcome = await copy_roots(end, LocalLog(here), [made.root])
        assert outcome.whole
        assert outcome.progress.blocks == len(made.blocks)
        assert (await copy_roots(end, LocalLog(here), [made.root])).progress.blocks == 0
        await put_tree(here, other, "usr.1")
        positions = MemoryPositions()
        done = await follow_once(Direction.PUSH, LocalLog(here), end, positions, Honest())
        assert done.progress.blocks == len(other.blocks)
        assert done.progress.names == 0
        assert done.whole  # names are not expected there
        [saved] = positions.saved.values()
        assert saved.into.store_id == "there"
        assert saved.position.number == here.last_number()
        await store.aclose()
