"""What cannot be opened, and why; and opening one store several times."""

import os
from pathlib import Path

import pytest

from lib9.waiting import run_now
from tests.venti_store.kit import close, edit, new_store, noise, put
from venti_store.errors import HashMismatch, StoreError, StoreMissing
from venti_store.open import create_default, is_local, open_store
from venti_store.score import BLAKE3, SHA1
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.place import FUSE_ALLOWED, file_system_of
from venti_store.stores.lmdb.store import LmdbStore


def test_no_store_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match="venti init"):
        LmdbStore(str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_what_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "data.mdb").write_bytes(noise("no store", 1 << 16))
    for name in ("file", "folder", "noise"):
        with pytest.raises(StoreError, match="not a venti store"):
            LmdbStore(str(tmp_path / name))


def test_another_lmdb_file_is_not_a_store(tmp_path: Path) -> None:
    import lmdb

    with lmdb.open(str(tmp_path / "other")) as env, env.begin(write=True) as txn:
        txn.put(b"a", b"b")
    with pytest.raises(StoreError, match="not a venti store"):
        LmdbStore(str(tmp_path / "other"))


def test_init_refuses_what_is_there(tmp_path: Path) -> None:
    create(str(tmp_path / "store"), BLAKE3)
    with pytest.raises(StoreError, match="a store already"):
        create(str(tmp_path / "store"), SHA1)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_bytes(b"dear")
    with pytest.raises(StoreError, match="not empty"):
        create(str(tmp_path / "home"), BLAKE3)
    assert os.stat(tmp_path / "store").st_mode & 0o777 == 0o700
    store = LmdbStore(str(tmp_path / "store"))
    assert store.family is BLAKE3
    close(store)


def test_an_init_that_was_killed_is_done_again(tmp_path: Path) -> None:
    import lmdb

    lmdb.open(str(tmp_path / "store"), max_dbs=4).close()
    with pytest.raises(StoreError, match="not a venti store"):
        LmdbStore(str(tmp_path / "store"))
    store = new_store(tmp_path)
    put(store, b"x")
    close(store)


@pytest.mark.parametrize("hash_name", [b"blake3", b"blake4"])
def test_a_newer_format_is_refused(tmp_path: Path, hash_name: bytes) -> None:
    store = new_store(tmp_path)
    edit(store, "about", b"format", b"2")
    edit(store, "about", b"hash", hash_name)
    close(store)
    with pytest.raises(StoreError, match="format 2 is newer"):
        LmdbStore(store.path)


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, *(noise(str(n), 60_000) for n in range(100)))
    close(store)
    os.truncate(tmp_path / "store" / "data.mdb", 2 << 20)
    with pytest.raises(StoreError, match="cut short"):
        LmdbStore(store.path)


def test_hash_mismatch(tmp_path: Path) -> None:
    close(new_store(tmp_path, SHA1))
    with pytest.raises(HashMismatch, match="sha1"):
        LmdbStore(str(tmp_path / "store"), family=BLAKE3)
    close(LmdbStore(str(tmp_path / "store"), family=SHA1))


@pytest.mark.root
def test_another_users_store_is_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    close(store)
    os.chown(tmp_path / "store" / "data.mdb", 12345, -1)
    with pytest.raises(StoreError, match="user 12345"):
        LmdbStore(store.path)


def test_ids_differ(tmp_path: Path) -> None:
    ids = {create(str(tmp_path / name), BLAKE3) for name in "abc"}
    assert len(ids) == 3
    store = LmdbStore(str(tmp_path / "a"))
    assert store.store_id in ids
    close(store)


def test_one_store_opened_twice_in_a_process(tmp_path: Path) -> None:
    one = new_store(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    two = LmdbStore(str(tmp_path / "link"))
    (key,) = put(one, noise("shared"))
    assert run_now(two.get_many([key])) == [noise("shared")]
    close(one)
    put(two, b"more")
    assert run_now(two.get_many([key])) == [noise("shared")]
    close(two)
    three = LmdbStore(str(tmp_path / "store"))
    assert three.last_number() == 2
    close(three)


def test_a_store_opened_before_a_fork_is_the_parents(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    (key,) = put(store, noise("before"))
    child = os.fork()
    if child == 0:
        refused = 0
        for use in (
            lambda: run_now(store.get_many([key])),
            lambda: put(store, b"from the child"),
            lambda: LmdbStore(store.path),
        ):
            try:
                use()
            except StoreError as error:
                refused += "fork" in str(error)
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert run_now(store.get_many([key])) == [noise("before")]
    put(store, b"from the parent")
    assert store.last_number() == 2
    close(store)


MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:40 / /mnt/net rw shared:2 master:3 - nfs4 server:/x rw
31 30 0:41 / /mnt/net/local\\040disk rw - xfs /dev/sdb rw
32 21 0:42 / /mnt/f rw - fuse.fossil fossil rw
33 21 0:43 / /mnt/f rw - tmpfs tmpfs rw
""".splitlines(keepends=True)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/mnt/network", "ext4"),
        ("/mnt/net", "nfs4"),
        ("/mnt/net/a/b", "nfs4"),
        ("/mnt/net/local disk/store", "xfs"),
        ("/mnt/f/store", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert file_system_of(path, MOUNTS) == kind


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "fuse.fossil", "fuse", "9p"])
def test_network_and_user_file_systems_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    close(new_store(tmp_path))
    from venti_store.stores.lmdb import place

    monkeypatch.setattr(place, "file_system_of", lambda path, lines: kind)
    with pytest.raises(StoreError, match=kind):
        LmdbStore(str(tmp_path / "store"))
    with pytest.raises(StoreError, match=kind):
        create(str(tmp_path / "new"), BLAKE3)
    monkeypatch.setattr(place, "file_system_of", lambda path, lines: next(iter(FUSE_ALLOWED)))
    close(LmdbStore(str(tmp_path / "store")))


async def test_addresses(tmp_path: Path) -> None:
    assert is_local("/a/b!c")
    assert is_local("store")
    assert not is_local("tcp!host!17034")
    with pytest.raises(StoreError, match="avian"):
        await open_store("avian!carrier")
    assert create_default(str(tmp_path / "data"))
    assert not create_default(str(tmp_path / "data"))
    store = await open_store(str(tmp_path / "data" / "venti"))
    assert store.family is BLAKE3
    await store.aclose()
