"""Round trips: what vac takes from the host, unvac gives back; and the same tree is the same score."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fossil_fs.ingest import options
from fossil_fs.ingest.exclude import Exclude
from lib9.errors import UsageError
from tests.fossil_fs.trees import copy_tree, differs, listing, make_zoo, unvac_tree, vac_tree
from venti_store.score import BLAKE3, SHA1
from venti_store.stores.memory import MemoryStore

ROOT = os.geteuid() == 0


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    make_zoo(tmp_path / "zoo", privileged=ROOT)
    return tmp_path / "zoo"


def test_every_kind_of_file_comes_back(zoo: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    report = unvac_tree(store, vac_tree(store, zoo).score, tmp_path / "out")
    assert (report.troubles, report.losses) == (0, {})
    assert differs(zoo, tmp_path / "out") == []
    assert (tmp_path / "out" / "sparse").stat().st_blocks * 512 < 1 << 20


def test_every_kind_of_file_comes_back_from_a_classic_store(zoo: Path, tmp_path: Path) -> None:
    """Plan 9's trees know no hard links: each name has a file of its own."""
    store = MemoryStore(SHA1)
    unvac_tree(store, vac_tree(store, zoo).score, tmp_path / "out")
    before, after = listing(zoo), listing(tmp_path / "out")
    assert {k: v[:-1] for k, v in before.items()} == {k: v[:-1] for k, v in after.items()}


@pytest.mark.parametrize("dsize", [512, 8192, 1 << 20])
def test_every_block_size_holds_the_same_files(zoo: Path, tmp_path: Path, dsize: int) -> None:
    store = MemoryStore()
    unvac_tree(store, vac_tree(store, zoo, dsize=dsize).score, tmp_path / "out")
    assert differs(zoo, tmp_path / "out") == []


@pytest.mark.parametrize("dsize", [511, (1 << 20) + 1, 65537])
def test_block_sizes_that_an_entry_cannot_state(dsize: int) -> None:
    with pytest.raises(UsageError):
        options.check_dsize(dsize, BLAKE3)


def test_the_score_is_that_of_the_tree_and_of_nothing_else(zoo: Path, tmp_path: Path) -> None:
    """Not of times of access, inode numbers, who reads, or the order of names on the disk."""
    score = vac_tree(MemoryStore(), zoo).score
    copy_tree(zoo, tmp_path / "copy")
    for readers in (1, 4):
        assert vac_tree(MemoryStore(), zoo, readers=readers).score == score
    assert vac_tree(MemoryStore(), tmp_path / "copy").score == score
    again = MemoryStore()
    unvac_tree(again, vac_tree(again, zoo).score, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        state = path.lstat()
        os.utime(path, ns=(1, state.st_mtime_ns), follow_symlinks=False)
    assert vac_tree(MemoryStore(), tmp_path / "out").score == score


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "size-1").write_bytes(b"!"),
        lambda top: (top / "size-0").chmod(0o7777),
        lambda top: os.utime(top / "size-0", ns=(0, 12)),
        lambda top: os.utime(top / "dangling", ns=(0, 12), follow_symlinks=False),
        lambda top: os.setxattr(top / "size-0", "user.new", b""),
        lambda top: os.setxattr(top / "size-100", "user.large", b"w" * 3000),
        lambda top: (top / "fifo").unlink(),
        lambda top: (top / "fifo").rename(top / "fifa"),
        lambda top: ((top / "a-first-name").unlink(), (top / "a-first-name").write_bytes(b"")),
        lambda top: (top / "deep" / "second-name").unlink(),
    ],
)
def test_whatever_differs_gives_another_score(zoo: Path, change: object) -> None:
    top_time = zoo.stat().st_mtime_ns
    before = vac_tree(MemoryStore(), zoo).score
    change(zoo)  # type: ignore[operator]
    os.utime(zoo, ns=(0, top_time))
    assert vac_tree(MemoryStore(), zoo).score != before


def test_the_time_of_the_top_directory_counts(zoo: Path) -> None:
    before = vac_tree(MemoryStore(), zoo).score
    os.utime(zoo, ns=(0, 12))
    assert vac_tree(MemoryStore(), zoo).score != before


@pytest.mark.parametrize("family", [BLAKE3, SHA1], ids=lambda f: f.name)
def test_several_are_entries_under_their_last_names(tmp_path: Path, family: object) -> None:
    for name in ("b", "a/b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "c").mkdir()
    (tmp_path / "b" / "file").write_text("of b")
    (tmp_path / "a" / "c" / "file").write_text("of c")
    os.link(tmp_path / "b" / "file", tmp_path / "a" / "linked")
    store = MemoryStore(family)  # type: ignore[arg-type]
    outcome = vac_tree(store, tmp_path / "b", tmp_path / "a" / "c", tmp_path / "a" / "linked")
    out = tmp_path / "out"
    unvac_tree(store, outcome.score, out)
    assert {p.name for p in out.iterdir()} == {"b", "c", "linked"}
    assert (out / "c" / "file").read_text() == "of c"
    assert (out / "linked").samefile(out / "b" / "file") == (family is BLAKE3)
    with pytest.raises(UsageError, match="the same last name"):
        vac_tree(store, tmp_path / "b", tmp_path / "a" / "b")


def test_one_file_system_keeps_a_mount_point_empty(tmp_path: Path) -> None:
    """The device decides; /proc/self in a tree of /proc would not do: its files have no contents."""
    store = MemoryStore()
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == Path("/dev").stat().st_dev:
        pytest.skip("no file system on /dev/shm")
    outcome = vac_tree(
        store, Path("/dev"), one_file_system=True, exclude=Exclude([b"pts/*", b"fd", b"core"])
    )
    from fossil_fs.find import find
    from fossil_fs.snapshot import open_snapshot
    from lib9.waiting import run_now

    node, directory = run_now(find(run_now(open_snapshot(store, outcome.score)), b"shm"))
    assert node.mode == shm.stat().st_mode
    assert directory is not None
    assert run_now(directory.lookup(b"any")) is None


def test_the_store_is_left_out_of_its_own_archive(tmp_path: Path) -> None:
    (tmp_path / "home" / "store").mkdir(parents=True)
    (tmp_path / "home" / "store" / "data.mdb").write_text("x")
    (tmp_path / "home" / "file").write_text("y")
    state = (tmp_path / "home" / "store").stat()
    store = MemoryStore()
    outcome = vac_tree(store, tmp_path / "home", skip=frozenset({(state.st_dev, state.st_ino)}))
    unvac_tree(store, outcome.score, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]


NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b"..")
)
FILES = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=2000), st.integers(0, 40)),
    st.tuples(st.just("symlink"), st.binary(min_size=1, max_size=40).filter(lambda t: 0 not in t)),
    st.tuples(st.just("fifo")),
    st.tuples(st.just("link")),
)
TREES = st.recursive(
    FILES, lambda below: st.dictionaries(NAMES, below, max_size=6), max_leaves=25
).filter(lambda tree: isinstance(tree, dict))


def build(top: bytes, tree: dict[bytes, object], made: list[bytes], rng: random.Random) -> None:
    os.mkdir(top)
    for name, item in tree.items():
        path = os.path.join(top, name)
        match item:
            case dict():
                build(path, item, made, rng)
            case ("file", data, repeats):
                with open(path, "wb") as file:
                    file.write(data * repeats)  # type: ignore[operator]
                made.append(path)
            case ("symlink", target):
                os.symlink(target, path)  # type: ignore[arg-type]
            case ("link",) if made:
                os.link(rng.choice(made), path)
            case _:
                os.mkfifo(path)
        mtime = rng.randrange(-(10**18), 4 * 10**18)
        os.utime(path, ns=(mtime, mtime), follow_symlinks=False)


@given(tree=TREES, seed=st.integers(0, 1 << 32), dsize=st.sampled_from([512, 8192]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_tree_comes_back(
    tree: dict[bytes, object], seed: int, dsize: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work = tmp_path_factory.mktemp("tree")
    build(os.fsencode(work / "in"), tree, [], random.Random(seed))
    store = MemoryStore()
    outcome = vac_tree(store, work / "in", dsize=dsize)
    report = unvac_tree(store, outcome.score, work / "out")
    assert (report.troubles, report.losses) == (0, {})
    assert differs(work / "in", work / "out") == []
    assert vac_tree(store, work / "out", dsize=dsize).score == outcome.score
