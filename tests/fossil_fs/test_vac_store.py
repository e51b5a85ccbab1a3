"""Many archivers on one store, one of them killed; a store with a damaged block; a lost worker."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fossil_fs.ingest.archive import archive
from fossil_fs.ingest.exchange import START
from fossil_fs.ingest.options import Options
from fossil_fs.ingest.report import Report
from fossil_fs.ingest.workers import START_FILES, WorkerLost, _Worker
from lib9.waiting import run_now
from tests.fossil_fs.trees import SCRIPTS, differs, next_tick, run, vac_tree
from venti_store.kind import Kind
from venti_store.score import BLAKE3
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore
from venti_store.stores.memory import MemoryStore


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A tree that is large enough for workers."""
    top, noise = tmp_path / "many", random.Random(2)
    for folder in range(6):
        (top / f"d{folder}" / "below").mkdir(parents=True)
        for number in range(START_FILES // 3):
            data = noise.randbytes(noise.choice((0, 100, 3000, 20_000)))
            (top / f"d{folder}" / f"f{number}").write_bytes(data)
    (top / "d3" / "large").write_bytes(noise.randbytes(9 << 20))
    os.link(top / "d5" / "f1", top / "d0" / "linked")
    (top / "d4" / "l").symlink_to("x")
    return top


def numbers_are_dense(path: Path) -> int:
    store = LmdbStore(str(path))
    try:
        numbers = [record.number for record in store.log()]
    finally:
        run_now(store.aclose())
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


def test_processes_read_what_threads_read(many: Path, tmp_path: Path) -> None:
    expected = vac_tree(MemoryStore(), many).score
    path = str(tmp_path / "store")
    create(path, BLAKE3)
    for count in (1, 3):
        store = LmdbStore(path)
        report = Report()
        outcome = archive(store, [os.fsencode(many)], Options(readers=count), report, address=path)
        run_now(store.aclose())
        assert outcome.score == expected
        assert report.troubles == 0
    run("unvac", "-s", path, outcome.score.hex(), tmp_path / "out")
    assert differs(many, tmp_path / "out") == []
    assert run("venti", "check", "-s", path).returncode == 0


def test_a_worker_that_is_killed_ends_the_run_with_a_word(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "store")
    create(path, BLAKE3)
    really = _Worker.read

    def read(self: _Worker, *rest: object) -> object:
        self._process.kill()
        self._process.wait()
        return really(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(_Worker, "read", read)
    store = LmdbStore(path)
    with pytest.raises(WorkerLost, match="ended"):
        archive(store, [os.fsencode(many)], Options(readers=2), Report(), address=path)
    run_now(store.aclose())
    numbers_are_dense(tmp_path / "store")


def test_a_worker_that_is_lost_while_it_syncs_fails_the_sync(many: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    create(path, BLAKE3)
    worker = _Worker((START, path, BLAKE3.name, 65536))
    try:
        worker._process.send_signal(signal.SIGSTOP)
        asked = worker.sync()
        worker._process.kill()
        with pytest.raises(WorkerLost, match="ended"):
            asked.result(60)
        worker._thread.join(60)
        with pytest.raises(WorkerLost, match="ended"):
            worker.sync().result(60)
    finally:
        worker.close()


def test_an_error_of_the_store_in_a_worker_is_the_runs_error(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers open the store at its address; here another one is there, of another hash."""
    from venti_store.errors import HashMismatch
    from venti_store.score import SHA1

    create(str(tmp_path / "other"), SHA1)
    store = MemoryStore()
    with pytest.raises(HashMismatch, match="sha1"):
        archive(
            store,
            [os.fsencode(many)],
            Options(readers=1),
            Report(),
            address=str(tmp_path / "other"),
        )


def test_four_archivers_on_one_store_and_one_of_them_killed(many: Path, home: Path) -> None:
    """The log stays dense, the store clean, the three results are whole and alike."""
    store = home / "store"
    run("venti", "init", store)
    trees = [many]
    for number in range(3):
        copy = home / f"copy{number}"
        subprocess.run(["cp", "-a", many, copy], check=True)
        (copy / "own").write_text(str(number))
        trees.append(copy)
    command = [str(SCRIPTS / "vac"), "-q", "-s", str(store)]
    running = [
        subprocess.Popen([*command, str(tree)], stdout=subprocess.PIPE, start_new_session=True)
        for tree in trees
    ]
    victim = running[1]
    log = store / "data.mdb"
    before = log.stat().st_blocks
    deadline = time.monotonic() + 60
    while log.stat().st_blocks == before and victim.poll() is None:
        assert time.monotonic() < deadline, "nothing is written"
    os.killpg(victim.pid, signal.SIGKILL)  # its workers too
    outputs = [process.communicate(timeout=100)[0].decode() for process in running]
    assert victim.returncode == -signal.SIGKILL
    assert [process.returncode for process in running if process is not victim] == [0, 0, 0]
    assert numbers_are_dense(store) > 100
    assert run("venti", "check", "-s", store).returncode == 0
    for tree, output in zip(trees, outputs, strict=True):
        if tree is not trees[1]:
            run("unvac", "-s", store, output.strip(), home / f"out-{tree.name}")
            assert differs(tree, home / f"out-{tree.name}") == []
    again = subprocess.run([*command, str(trees[1])], capture_output=True, text=True, check=True)
    run("unvac", "-s", store, again.stdout.strip(), home / "out-again")
    assert differs(trees[1], home / "out-again") == []


def test_workers_end_when_the_one_that_scans_is_killed(many: Path, home: Path) -> None:
    run("venti", "init", home / "store")
    process = subprocess.Popen(
        [SCRIPTS / "vac", "-q", "-s", home / "store", many], stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    children: list[int] = []
    while not children:
        assert time.monotonic() < deadline, "no workers were started"
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        children = [int(pid) for pid in listed.split()]
    process.kill()
    process.communicate()
    while any(_runs(pid) for pid in children):
        assert time.monotonic() < deadline, "workers outlive the one they work for"


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_archiving_a_file_again_mends_its_damaged_block(home: Path) -> None:
    tree = home / "tree"
    tree.mkdir()
    data = random.Random(3).randbytes(5000)
    (tree / "file").write_bytes(data)
    path = home / "store"
    run("venti", "init", path)
    score = run("vac", "-s", path, tree).stdout.strip()
    raw = bytearray((path / "data.mdb").read_bytes())
    raw[raw.index(data[100:140])] ^= 1
    (path / "data.mdb").write_bytes(raw)
    done = run("unvac", "-s", path, score, home / "bad", check=False)
    assert done.returncode == 3
    assert BLAKE3.score(data).hex() in done.stderr
    assert not (home / "bad" / "file").exists()
    assert run("vac", "-s", path, tree).stdout.strip() == score
    run("unvac", "-s", path, score, home / "good")
    assert differs(tree, home / "good") == []


def test_blocks_are_there_before_the_root(many: Path) -> None:
    """At the moment of each put everything below a root, if one is put, is stored and synced."""

    class Watched(MemoryStore):
        synced = 0

        async def put_many(self, blocks: object) -> None:
            roots = [block for block in blocks if block.kind is Kind.ROOT]  # type: ignore[attr-defined]
            if roots:
                assert self.synced == 1
                assert len(blocks) <= 3, "only the root's own blocks come with it"  # type: ignore[arg-type]
            else:
                assert self.synced == 0
            await super().put_many(blocks)  # type: ignore[arg-type]

        async def sync(self) -> None:
            self.synced += 1

    store = Watched()
    vac_tree(store, many, readers=2)
    assert store.synced == 2


def test_a_store_behind_a_server_gives_the_same_score(many: Path, home: Path) -> None:
    run("venti", "init", home / "store")
    address = f"unix!{home}/socket"
    server = subprocess.Popen(
        [SCRIPTS / "venti", "serve", "--listen", address, home / "store"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline().strip() == address
        next_tick(home)
        score = run("vac", "-a", "many", "-s", address, many).stdout.strip()
        assert score == f"vac:{vac_tree(MemoryStore(), many).score.hex()}"
        again = run("vac", "-a", "many", "-s", address, many)
        assert (again.stdout.strip(), "nothing changed" in again.stderr) == (score, True)
        (many / "d1" / "f1").write_text("changed")
        assert run("vac", "-a", "many", "-s", address, many).stdout.strip() != score
        run("unvac", "-s", address, "many", home / "out")
        assert differs(many, home / "out") == []
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert run("venti", "check", "-s", home / "store").returncode == 0
