"""Real nodes in network namespaces: what is saved on one is whole on the others, whatever happens."""

import json
import os
import shutil
import sys
from itertools import permutations

import pytest

from tests.kit.nodes import Network, nodes_on, wait_for

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("ip") is None, reason="ip(8) is not here"),
]


@pytest.fixture(scope="module")
def wire():
    network = Network(4)
    yield network
    network.close()


@pytest.fixture
def network(wire):
    yield wire
    wire.tell("delay", 0)
    wire.tell("loss", 0)
    wire.tell("mend")


@pytest.fixture
def three(network, tmp_path):
    """Three nodes that all follow each other."""
    with nodes_on(network, tmp_path, "a", "b", "c") as nodes:
        for node in nodes:
            node.knows(*((peer, "pull") for peer in nodes if peer is not node))
            node.serve()
            node.replicate()
        for node, peer in permutations(nodes, 2):
            wait_for(lambda n=node, p=peer: current(n, p), f"{node.name} following {peer.name}")
        yield nodes


def current(node, peer):
    status = node.run("replicate", "--status", "--json")
    if status.returncode:
        return False
    links = json.loads(status.stdout)["links"]
    return any(k["peer"] == peer.name and k["state"] == "current" for k in links)


def noise(n=1, size=200_000):
    return {f"file{k}": os.urandom(size) for k in range(n)}


@pytest.mark.fuse
def test_saved_on_one_mounted_and_read_whole_on_the_others(three, tmp_path):
    files = noise(3)
    score = three[0].save("usr", files)
    for node in three[1:]:
        wait_for(lambda n=node: score in n.names(), f"the name at {node.name}")
        mount = tmp_path / f"mnt-{node.name}"
        mount.mkdir()
        node("fossil-mount", "--ro", "usr", mount, outside=True)
        try:
            assert {f.name: f.read_bytes() for f in mount.iterdir()} == files
        finally:
            node("fossil-umount", mount, outside=True)


def test_one_name_saved_on_two_nodes_at_once(three):
    a, b, _ = three
    first, second = a.save("usr", noise()), b.save("usr", noise())
    agreed(three, {first, second})


RECORD = """
import os, sys
from lib9 import places
from lib9.waiting import run_now
from venti_store.names.here import with_book
from venti_store.score import parse_score
places.use(os.environ)
path, name, score, year = sys.argv[1:]
now_us = (int(year) - 1970) * 31_556_952_000_000
with_book(path, lambda book: run_now(
    book.record(name, parse_score(score), user="root", now_us=now_us)))
"""


def test_clocks_that_are_set_wrong(three):
    a, b, c = three
    first = a.save("now", noise())
    agreed(three, {first})
    for node, name, year in ((b, "future", 2090), (c, "past", 1975), (a, "future", 2020)):
        node(sys.executable, "-c", RECORD, node.store, name, first, year)
    agreed(three, {first}, count=4)


def agreed(nodes, scores, count=None):
    """Wait until all nodes have the same names, in the same order, all whole."""

    def listing(node):
        return [line.split()[:3] for line in node("grid", "names", "ls").splitlines()]

    def same():
        listings = [listing(node) for node in nodes]
        enough = all(len(each) == (count or len(scores)) for each in listings)
        return enough and all(each == listings[0] for each in listings)

    wait_for(same, "the same names everywhere")
    for node in nodes:
        assert set(node.names()) == scores
        node.check_whole()


def test_cut_and_healed(three, network):
    a, b, c = three
    network.tell("cut", 1, 2)
    network.tell("cut", 1, 3)
    score, other = a.save("usr", noise()), b.save("sys", noise())
    wait_for(lambda: other in c.names(), "the name among those who are not cut off")
    assert score not in b.names() + c.names()
    network.tell("mend")
    for node in three:
        wait_for(lambda n=node: {score, other} <= set(n.names()), f"both at {node.name}")
        node.check_whole()


def test_loss_and_delay(three, network):
    network.tell("delay", 100)
    network.tell("loss", 5)
    score = three[0].save("usr", noise(4))
    for node in three[1:]:
        wait_for(lambda n=node: score in n.names(), f"the name at {node.name}", 300)
        node.check_whole()


def test_servers_and_daemons_killed_and_started_again(three):
    a, b, c = three
    scores = []
    for turn in range(3):
        scores.append(a.save(f"usr{turn}", noise(4)))
        for node, what in ((b, "replicate"), (a, "venti"), (c, "venti"), (c, "replicate")):
            node.kill(what)
            node.serve() if what == "venti" else node.replicate()
        for node in three:
            node.check_whole()
    for node in three:
        wait_for(lambda n=node: set(scores) <= set(n.names()), f"all names at {node.name}")
        node.check_whole()


POINTS = ["read", "fetched", "put", "put:3", "before-sync", "synced", "named"]


def test_killed_at_every_point_of_following(network, tmp_path):
    with nodes_on(network, tmp_path, "a", "b") as (a, b):
        a.knows((b, ""))
        b.knows((a, ""))
        a.serve()
        for point in POINTS:
            score = a.save(point.partition(":")[0], noise(6, 3 << 20))
            info = tmp_path / "server.info"
            words = ("ventiprog", "-f", info, "--pull", a.address)
            killed = b.run(*words, SPAWNGRID_FAULT=f"replicate.{point}")
            assert killed.returncode == -9, (point, killed.stderr)
            b.check_whole()
            done = b.run(*words)
            assert done.returncode == 0, done.stderr
            assert score in b.names()
            b.check_whole()


FRAMED = 1.06  # bytes on this wire for each of the blocks: headers, acknowledgements


@pytest.mark.long  # the first run notices the cut after half a minute
@pytest.mark.parametrize("size", [64 << 20, 1 << 30])
def test_cut_at_nine_tenths_the_second_run_moves_little(network, tmp_path, size):
    with nodes_on(network, tmp_path, "a", "b") as (a, b):
        a.knows((b, ""))
        b.knows((a, ""))
        a.serve()
        score = a.save("usr", noise(16, size // 16))
        words = ("ventiprog", "-f", tmp_path / "server.info", "--pull", "--json", a.address)
        network.tell("cut-after", int(size * 0.9 * FRAMED))
        cut = b.run(*words)
        assert cut.returncode == 10, cut.stderr
        assert b.names() == []
        carried = network.tell("mend")
        again = json.loads(b("ventiprog", *words[1:]))
        assert again["bytes"] <= 0.15 * size
        assert network.tell("count") - carried <= 0.15 * size
        assert b.names() == [score]
        b.check_whole()


def test_a_full_disk_at_the_receiver(network, tmp_path, mount_point):
    import subprocess

    with nodes_on(network, tmp_path, "a", "b") as (a, b):
        a.knows((b, ""))
        b.knows((a, ""))
        a.serve()
        score = a.save("usr", noise(10, 4 << 20))
        small = ["mount", "-t", "tmpfs", "-o", "size=90m,mode=700", "none", str(mount_point)]
        subprocess.run(small, check=True)
        store = mount_point / "store"
        b("venti", "init", store)
        words = ("ventiprog", "-s", store, "-f", tmp_path / "server.info", "--pull", a.address)
        full = b.run(*words)
        assert full.returncode == 7, full.stderr
        assert "disk full" in full.stderr
        assert [
            line for line in b("venti", "ls", "-s", store).splitlines() if " name" in line
        ] == []
        subprocess.run(["mount", "-o", "remount,size=400m", str(mount_point)], check=True)
        b("ventiprog", *words[1:])
        b("venti", "check", "-s", store, score)


def test_a_corrupt_block_in_the_middle_of_a_chain(network, tmp_path):
    with nodes_on(network, tmp_path, "a", "b", "c", "d") as (a, b, c, d):
        for node in (a, b, c, d):
            node.knows(*((peer, "") for peer in (a, b, c, d) if peer is not node))
        a.serve()
        data = os.urandom(300_000)
        score = a.save("usr", {"file": data})
        for node in (b, d):
            node("ventiprog", "-f", node.folder / "info", "--pull", a.address)
        a.kill()
        rot(b.store / "data.mdb", data[70_000:70_040])
        b.serve()
        c.knows((a, ""), (b, "pull"), (d, "pull"))
        c.replicate()  # d does not answer yet
        wait_for(lambda: c.run("replicate", "--status").returncode == 0, "the daemon of c")
        wait_for(lambda: c.link(b)["holes"], "the hole")
        [name] = [n for n in c.status()["names"] if n["state"] != "complete"]
        assert name["state"] == "partial"
        assert name["name"].startswith("usr.")
        assert c.names() == []
        assert "partial" in c("replicate", "--status")
        d.serve()
        wait_for(lambda: c.names() == [score], "the name, whole, from the fourth")
        c.check_whole()
        assert c.link(b)["holes"] == 0


def rot(file, stored):
    content = file.read_bytes()
    at = content.index(stored)
    with file.open("r+b") as there:
        there.seek(at)
        there.write(bytes([stored[0] ^ 1]))


def test_a_store_set_back_to_an_older_copy(network, tmp_path):
    with nodes_on(network, tmp_path, "a", "b") as (a, b):
        a.knows((b, ""))
        b.knows((a, ""))
        a.serve()
        words = ("ventiprog", "-f", tmp_path / "server.info", "--pull", a.address)
        first = a.save("usr", noise())
        b("ventiprog", *words[1:])
        shutil.copytree(b.store, tmp_path / "copy-b")
        shutil.copytree(a.store, tmp_path / "copy-a")
        second = a.save("usr", noise())
        b("ventiprog", *words[1:])
        # ours: what the file remembers is newer than what the store has
        shutil.rmtree(b.store)
        shutil.copytree(tmp_path / "copy-b", b.store)
        assert b.names() == [first]
        done = b.run(*words)
        assert "set back to an older copy: asked for everything again" in done.stderr
        assert set(b.names()) == {first, second}
        b.check_whole()
        # the peer's
        a.kill()
        shutil.rmtree(a.store)
        shutil.copytree(tmp_path / "copy-a", a.store)
        a.serve()
        third = a.save("sys", noise(2))
        wait_for(lambda: b.run(*words).returncode != 10, "the server")
        assert set(b.names()) == {first, second, third}
        b.check_whole()


@pytest.mark.parametrize("how", ["omits", "both"])
def test_a_lying_peer(network, tmp_path, how):
    with nodes_on(network, tmp_path, "a", "b", "c") as (a, b, c):
        for node in (a, b, c):
            node.knows(*((peer, "") for peer in (a, b, c) if peer is not node))
        score = a.save("usr", noise(3))
        a.serve()
        shutil.copytree(a.store, tmp_path / "lies")
        c.start(
            sys.executable, "-m", "tests.kit.liar", tmp_path / "lies", "17034", how, name="liar"
        )
        words = ("ventiprog", "-f", tmp_path / "info", "--pull")
        wait_for(lambda: b.run(*words, "tcp!10.98.0.3!17034").returncode != 10, "the liar")
        done = b.run(*words, "--rescan", "tcp!10.98.0.3!17034")
        if how == "omits":  # it gives what it left out, when it is asked
            assert b.names() == [score], done.stderr
        else:
            assert done.returncode == 3, done.stderr
            assert b.names() == []
        b.check_whole()
        b("ventiprog", "-f", tmp_path / "info", "--pull", a.address)
        assert b.names() == [score]
        b.check_whole()


def test_ten_who_save_while_others_come_in(three, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    a, b, _ = three

    def save(n):
        source = tmp_path / f"src{n}"
        source.mkdir()
        (source / "file").write_bytes(os.urandom(50_000))
        return (a, b)[n % 2]("vac", "-a", f"usr{n}", source).splitlines()[-1]

    with ThreadPoolExecutor(10) as pool:
        scores = set(pool.map(save, range(10)))
    agreed(three, scores)


@pytest.mark.fuse
def test_a_save_waits_for_replicas(three, network, tmp_path):
    a, b, c = three
    score = a.save("usr", noise())
    agreed(three, {score})
    mount = tmp_path / "mnt"
    mount.mkdir()
    a("fossil-mount", "usr", mount, outside=True)
    try:
        for name in ("usr", ""):
            (mount / "file0").write_bytes(os.urandom(10_000))
            words = ("fossil-save", "--wait-replicas", "2", mount, *filter(None, [name]))
            saved = a(*words, outside=True)
            for node in (b, c):
                node("venti", "check", saved)
            if name:
                wait_for(lambda s=saved: s in b.names() and s in c.names(), "the name")
        network.tell("cut", 1, 3)
        (mount / "file0").write_bytes(os.urandom(10_000))
        done = a.run(
            "fossil-save", "--wait-replicas", "2", "--wait", "2s", mount, "usr", outside=True
        )
        assert done.returncode == 10
        assert "at 1 of 2 peers after 2 s" in done.stderr
        a("venti", "check", done.stdout.strip())
    finally:
        a("fossil-umount", "--discard", mount, outside=True)
