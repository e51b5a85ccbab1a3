"""Rot is found, named, never passed on, and mended by putting the block again."""

from pathlib import Path

import pytest

from lib9.waiting import run_now
from tests.venti_store.kit import close, edit, flip_byte, new_store, noise, put, reopened, scrub
from venti_store.codec import encode
from venti_store.errors import CorruptBlock
from venti_store.interfaces import Block, Key
from venti_store.kind import Kind
from venti_store.score import BLAKE3
from venti_store.stores.lmdb.environment import NUMBER
from venti_store.stores.lmdb.verified import Verified


def test_a_flipped_byte_is_found_and_named_and_the_others_are_fine(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    before, bad, after = put(store, noise("before"), noise("bad"), noise("after"))
    flip_byte(store, noise("bad"))
    with pytest.raises(CorruptBlock) as caught:
        run_now(store.get_many([before, bad]))
    assert bad.score.hex() in str(caught.value)
    assert f"{store.path}, log number 2" in str(caught.value)
    with pytest.raises(CorruptBlock), store.views([bad]):
        pass
    assert run_now(store.get_many([before, after])) == [noise("before"), noise("after")]
    damages = scrub(store)
    assert [(d.number, d.score, d.lost) for d in damages] == [(2, bad.score, True)]
    close(store)


def test_putting_the_block_again_repairs_it(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    (key,) = put(store, noise("bad"))
    store = reopened(store)
    flip_byte(store, noise("bad"))
    put(store, noise("bad"))
    assert run_now(store.get_many([key])) == [noise("bad")]
    assert store.last_number() == 2
    assert scrub(store) == []
    # the log still has both numbers, both with the good bytes
    assert [r.data for r in store.log()] == [noise("bad")] * 2
    put(store, noise("bad"))
    assert store.last_number() == 2
    close(store)


def test_a_read_that_finds_rot_makes_the_next_put_store_again(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    (key,) = put(store, noise("bad"))
    run_now(store.get_many([key]))
    flip_byte(store, noise("bad"))
    put(store, noise("bad"))  # verified since it was opened: counts as stored
    assert store.last_number() == 1
    with pytest.raises(CorruptBlock):
        run_now(store.get_many([key]))
    put(store, noise("bad"))
    assert run_now(store.get_many([key])) == [noise("bad")]
    close(store)


def test_the_log_gives_what_comes_before_a_bad_record_then_names_it(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, noise("one"), noise("two"), noise("three"))
    flip_byte(store, noise("two"))
    entries = store.log()
    assert next(entries).data == noise("one")
    with pytest.raises(CorruptBlock, match="log number 2"):
        next(entries)
    assert [r.data for r in store.log(3)] == [noise("three")]
    edit(store, "log", NUMBER.pack(2), b"no record")
    with pytest.raises(CorruptBlock, match="log number 2: bad"):
        list(store.log())
    edit(store, "log", NUMBER.pack(2), None)
    entries = store.log()
    assert next(entries).data == noise("one")
    with pytest.raises(CorruptBlock, match=r"log number 2: .*missing"):
        next(entries)
    assert [r.data for r in store.log(3)] == [noise("three")]
    close(store)


@pytest.mark.parametrize("table", ["index", "log"])
def test_an_index_that_names_nothing(tmp_path: Path, table: str) -> None:
    store = new_store(tmp_path)
    key, other = put(store, b"one", b"two")
    name = key.score + bytes([Kind.DATA])
    if table == "index":
        edit(store, "index", name, NUMBER.pack(77))
    else:
        edit(store, "log", NUMBER.pack(1), None)
    with pytest.raises(CorruptBlock, match="not there"):
        run_now(store.get_many([key]))
    assert run_now(store.get_many([other])) == [b"two"]
    damages = scrub(store)
    assert damages
    assert {d.number for d in damages} == {1, 77} if table == "index" else {1}
    scrub(store, rebuild=True)
    if table == "index":
        assert scrub(store) == []
        assert run_now(store.get_many([key])) == [b"one"]
    else:
        assert ["missing" in d.why for d in scrub(store)] == [True]
    close(store)


def test_an_index_that_names_another_block(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    one, two = put(store, b"one", b"two")
    edit(store, "index", one.score + bytes([Kind.DATA]), NUMBER.pack(2))
    with pytest.raises(CorruptBlock, match="another block"):
        run_now(store.get_many([one]))
    assert not any(d.lost for d in scrub(store))
    assert scrub(store)
    scrub(store, rebuild=True)
    assert scrub(store) == []
    assert run_now(store.get_many([one, two])) == [b"one", b"two"]
    close(store)


def test_the_index_is_rebuilt_from_nothing(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    keys = put(store, *(noise(str(n), 50 + n) for n in range(500)))
    run_now(store.append_name(b"a name"))
    with store.environment.env.begin(write=True) as txn:
        txn.drop(store.environment.index, delete=False)
        txn.drop(store.environment.names, delete=False)
    assert run_now(store.have_many(keys)) == [False] * 500
    assert list(store.names()) == []
    assert len(scrub(store)) == 502
    scrub(store, rebuild=True)
    assert scrub(store) == []
    assert run_now(store.get_many(keys)) == [noise(str(n), 50 + n) for n in range(500)]
    assert run_now(store.append_name(b"a name")) == 501
    assert [r.data for r in store.names()] == [b"a name"]
    close(store)


def test_a_record_of_other_bytes_is_not_believed(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    (key,) = put(store, b"true")
    edit(store, "log", NUMBER.pack(1), encode(Kind.DATA, key.score, b"lies"))
    with pytest.raises(CorruptBlock):
        run_now(store.get_many([key]))
    edit(store, "log", NUMBER.pack(1), b"")
    assert [d.number for d in scrub(store)][:1] == [1]
    close(store)


def test_one_bad_block_among_many_that_are_opened_by_two_threads(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    texts = [b"%03d the score of a block " % n * 2600 for n in range(16)]
    keys = put(store, *texts)
    assert run_now(store.get_many(keys)) == texts
    for bad in (1, 14):
        good = encode(Kind.DATA, keys[bad].score, texts[bad])
        edit(store, "log", NUMBER.pack(bad + 1), good[:-10] + bytes(10))
        with pytest.raises(CorruptBlock, match=keys[bad].score.hex()):
            run_now(store.get_many(keys))
        edit(store, "log", NUMBER.pack(bad + 1), good)
    gone = Key(BLAKE3.score(b"gone"), Kind.DATA)
    edit(store, "log", NUMBER.pack(15), b"rot")
    with pytest.raises(CorruptBlock, match=keys[14].score.hex()):  # the first that fails
        run_now(store.get_many([*keys, gone]))
    close(store)


def test_a_bad_block_offered_by_a_caller_is_not_counted_as_verified(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    score = BLAKE3.score(noise("true"))
    run_now(store.put_many([Block(score, Kind.DATA, noise("lies"))]))
    run_now(store.sync())
    put(store, noise("true"))
    assert run_now(store.get_many([Key(score, Kind.DATA)])) == [noise("true")]
    close(store)


def test_the_set_of_verified_numbers_is_bounded() -> None:
    good = Verified(numbers_max=1000)
    for number in (0, 1, 7, 8, 1000, 1001, 10**12):
        assert number not in good
        good.add(number)
    assert [n in good for n in (0, 1, 2, 7, 8, 1000, 1001, 10**12)] == [
        True, True, False, True, True, True, False, False,
    ]  # fmt: skip
    assert len(good._bits) < 10_000
    good.discard(8)
    good.discard(10**12)
    assert 8 not in good
    assert 7 in good
