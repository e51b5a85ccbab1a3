"""server.info files: what is written is read, the original's files too, whatever is cut off."""

import re
from dataclasses import replace
from math import inf

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from lib9.errors import UsageError
from ndbdb.parser import parse
from replicator import info as info_module
from replicator.actions import Position
from replicator.backoff import SECONDS_MAX, SECONDS_MIN, Backoff
from replicator.ends import LocalLog
from replicator.follower import Follower
from replicator.info import InfoBusy, InfoFile
from replicator.peers import PeerNode, peer_nodes
from replicator.positions import (
    Direction,
    Mark,
    MemoryPositions,
    Saved,
    Strange,
    line_of,
    read_info,
)
from replicator.starting import SAVE_SECONDS, Keeper
from venti_store.score import Score
from venti_store.stores.memory import MemoryStore

ORIGINAL = """\
venti=tcp!127.1!27035
# Thu Jan 11 05:17:54 GMT 2018
arenas0=0x1fbbff7b
# Fri Jan 12 05:17:54 GMT 2018
arenas3=0x3602e6e
"""

scores = st.sampled_from([20, 32]).flatmap(lambda n: st.binary(min_size=n, max_size=n)).map(Score)
numbers = st.integers(0, 1 << 63)
ids = st.text("0123456789abcdef", min_size=1, max_size=32) | st.just("tcp!10.0.0.1!17034")
positions = st.builds(Position, ids, numbers, scores)
saved = st.builds(
    Saved, st.sampled_from(Direction), positions, st.builds(Mark, ids, numbers, scores)
)


def text_info(text):
    return read_info(parse(text, "info"))


@given(st.lists(saved, max_size=5))
def test_the_last_position_of_each_store_counts(many):
    found = text_info("venti=x\n" + "".join(map(line_of, many)))
    wanted = {(s.direction, s.position.store_id, s.into.store_id): s for s in many}
    assert found.positions == wanted


@given(saved, st.data())
def test_a_line_that_was_cut_says_nothing_wrong(one, data):
    line = line_of(one)
    cut = line[: data.draw(st.integers(0, len(line) - 1))]
    found = text_info(f"venti=x\n{cut}\n").positions.values()
    assert all(s == one for s in found) or not any(
        s.position.number > one.position.number for s in found
    )


def test_the_files_of_the_original_are_read():
    found = text_info(ORIGINAL)
    assert (found.venti, found.positions) == ("tcp!127.1!27035", {})
    later = text_info(ORIGINAL + "venti=unix!/x\nroot=vac:00\nroot=vac:11\n")
    assert (later.venti, later.roots) == ("unix!/x", ("vac:00", "vac:11"))


ONE = Saved(Direction.PULL, Position("s", 7, Score(b"a" * 32)), Mark("t", 9, Score(b"b" * 32)))


def test_where_names_of_strangers_were_refused_is_kept_beside_the_position():
    strange = Strange(Position("s", 3, Score(b"c" * 32)), "0a")
    saved = replace(ONE, strange=strange)
    assert text_info(line_of(saved)).positions == {(Direction.PULL, "s", "t"): saved}
    for damaged in ("strange=x", "strangescore=63"):
        attr = damaged.partition("=")[0]
        text = re.sub(rf"{attr}=\S+", damaged, line_of(saved))
        assert text_info(text).positions == {}


def test_a_file_is_appended_to_and_read_again(tmp_path):
    path = str(tmp_path / "server.info")
    file = InfoFile.open(path)
    file.set_peer("noise!x!1")
    file.set_peer("noise!x!1")
    file.save(ONE)
    with pytest.raises(InfoBusy, match="in use by another program"):
        InfoFile.open(path)
    file.close()
    again = InfoFile.open(path)
    assert again.info.venti == "noise!x!1"
    assert again.load(Direction.PULL, "s", "t") == ONE
    assert again.load(Direction.PUSH, "s", "t") is None
    again.close()
    lines = (tmp_path / "server.info").read_text().splitlines()
    assert [line[:6] for line in lines] == ["venti=", "# " + lines[1][2:6], "pull=s"]


@pytest.mark.parametrize("torn", ["# Thu", "pull=s number=99 score=61"])
def test_a_torn_line_is_read_by_nobody(tmp_path, torn):
    path = tmp_path / "server.info"
    path.write_text(line_of(ONE) + torn)
    file = InfoFile.open(str(path))
    assert file.load(Direction.PULL, "s", "t") == ONE
    newer = Saved(ONE.direction, Position("s", 8, ONE.position.score), ONE.into)
    file.save(newer)
    file.close()
    file = InfoFile.open(str(path))
    assert file.load(Direction.PULL, "s", "t") == newer
    file.close()


def test_a_long_file_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(info_module, "BYTES_MAX", 2000)
    path = tmp_path / "server.info"
    path.write_text("venti=x\nroot=vac:00\n")
    file = InfoFile.open(str(path))
    other = Saved(Direction.PUSH, ONE.position, ONE.into)
    file.save(other)
    for number in range(50):
        file.save(Saved(ONE.direction, Position("s", number, ONE.position.score), ONE.into))
        with pytest.raises(InfoBusy):
            InfoFile.open(str(path))
    file.close()
    assert path.stat().st_size < 4000
    file = InfoFile.open(str(path))
    assert (file.info.venti, file.info.roots) == ("x", ("vac:00",))
    assert file.load(Direction.PULL, "s", "t").position.number == 49
    assert file.load(Direction.PUSH, "s", "t") == other
    file.close()


def test_peers_are_the_records_that_say_so():
    text = """
sys=a dial=noise!10.0.0.1!27034 pubkey=k right=venti replicate=pull
sys=b dial=tcp!127.1!27035 dial=noise!b!1
\treplicate=both
sys=c dial=unix!/c replicate=
sys=d dial=noise!d!1
"""
    both = (Direction.PULL, Direction.PUSH)
    assert peer_nodes(parse(text, "ndb")) == [
        PeerNode("a", "noise!10.0.0.1!27034", (Direction.PULL,)),
        PeerNode("b", "tcp!127.1!27035", both),
        PeerNode("c", "unix!/c", (Direction.PULL,)),
    ]
    for bad in (
        "sys=a replicate=pull",
        "dial=x replicate=pull",
        "sys=a dial=x replicate=sometimes",
        "sys=../a dial=x replicate=pull",
        "sys=a dial=x replicate=\nsys=a dial=y replicate=",
    ):
        with pytest.raises(UsageError, match="a peer has one record"):
            peer_nodes(parse(bad + "\n", "ndb"))


@given(st.lists(st.floats(0, 1), min_size=20, max_size=20))
def test_attempts_come_further_apart_and_not_all_at_once(chances):
    left = iter(chances)
    backoff = Backoff(lambda: next(left))
    seconds = [backoff.failed() for _ in range(20)]
    for n, (each, chance) in enumerate(zip(seconds, chances, strict=True)):
        assert each == min(SECONDS_MIN * 2**n, SECONDS_MAX) * (1 - chance / 2)
    backoff.worked()
    left = iter([0])
    assert backoff.failed() == SECONDS_MIN


class CountingPositions(MemoryPositions):
    def __init__(self):
        super().__init__()
        self.numbers = []

    def save(self, saved):
        self.numbers.append(saved.position.number)


async def test_positions_are_written_down_once_a_second_and_without_news_nobody_wakes(
    autojump_clock, nursery
):
    positions = CountingPositions()
    follower = Follower(Position("there", 0, Score(bytes(32))))
    keeper = Keeper(Direction.PULL, positions, LocalLog(MemoryStore()), follower)
    nursery.start_soon(keeper.run)
    for number in range(1, 30):
        keeper.note(Position("there", number, Score(bytes(32))))
        await trio.sleep(SAVE_SECONDS / 10)
    assert len(positions.numbers) <= 4
    await trio.sleep(2 * SAVE_SECONDS)
    assert positions.numbers[-1] == 29
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == inf
