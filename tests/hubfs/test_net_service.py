"""Clients of a hub service over streams in memory: what they may, what outlives a connection."""

import errno
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from hubfs.ctl import run_command
from hubfs.flow import Flow, hub_of
from hubfs.namespace import CTL_INO, ROOT_INO, Namespace, Settings
from hubfs.net import link as link_module
from hubfs.net import sessions, wire
from hubfs.net.far import FarReader
from hubfs.net.link import Link
from hubfs.net.service import HubService
from hubfs.net.sessions import SESSION_SECONDS
from hubfs.net.visitors import RIGHTS, Visitor, rights_of
from lib9.errors import RemoteProtocolError
from lib9.streams import CannotDial

ALL = Visitor("op", frozenset(RIGHTS))


class Place:
    """A server, and the means to cut its connections."""

    def __init__(self, nursery: trio.Nursery, settings: Settings | None = None) -> None:
        self._nursery = nursery
        self._settings = settings
        self.streams: list[trio.StapledStream[object, object]] = []
        self.start()

    def start(self) -> None:
        self.names = Namespace(0, 0, 0, self._settings or Settings())
        self.flow = Flow()
        self.quit = trio.Event()
        self.service = HubService(self.names, self.flow, "test", self.quit.set)
        self.reachable = True

    def connect(self, visitor: Visitor) -> Callable[[], Awaitable[trio.abc.Stream]]:
        async def connect() -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            if not self.reachable:
                raise CannotDial("nobody there")
            ours, theirs = memory_stream_pair()
            self.streams.append(ours)
            self._nursery.start_soon(self.service.converse, theirs, visitor, "here")
            return ours

        return connect

    async def cut(self) -> None:
        for stream in self.streams:
            await trio.aclose_forcefully(stream)
        self.streams.clear()

    @asynccontextmanager
    async def client(self, visitor: Visitor = ALL) -> AsyncIterator[Link]:
        link = Link(self.connect(visitor), "place")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            await link.up.wait()
            yield link
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def a_place(settings: Settings | None = None) -> AsyncIterator[Place]:
    async with trio.open_nursery() as nursery:
        yield Place(nursery, settings)
        nursery.cancel_scope.cancel()


async def make(link: Link, name: bytes, mode: int = 0o644) -> int:
    return (await link.call(wire.Create(ROOT_INO, name, mode), wire.Told)).facts.ino


async def say(link: Link, ino: int, data: bytes) -> int:
    return (await link.call(wire.Write(ino, 0, 1, data), wire.Wrote)).size


async def reader(link: Link, ino: int, path: bytes, number: int = 1) -> FarReader:
    opened = await link.call(wire.Open(number, ino, b"", wire.AT_THE_END), wire.Opened)
    far = FarReader(link, number, path, opened.position)
    link.reopen = lambda anew: [far.open_again(anew)]
    return far


def _raises(number: int) -> pytest.RaisesExc[OSError]:
    return pytest.raises(OSError, match=re.escape(f"[Errno {number}]"))


async def test_what_one_says_another_reads() -> None:
    async with (
        a_place() as place,
        place.client() as one,
        place.client(Visitor("ann", frozenset(["read"]))) as other,
    ):
        ino = await make(one, b"log")
        far = await reader(other, ino, b"log")
        got: list[bytes] = []

        async def read() -> None:
            got.append(await far.read(0, 100, wait=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            assert got == []
            await say(one, ino, b"hello")
        assert got == [b"hello"]
        assert b"writer op\nclient op at here: readers 0 written 5 lost 0\n" in (
            place.service.status()
        )
        # part by part, and again from where the file position was moved to
        await say(one, ino, b" world")
        assert await far.read(5, 3, wait=True) == b" wo"
        assert await far.read(8, 100, wait=True) == b"rld"
        assert await far.read(0, 100, wait=True) == b"hello world"
        with _raises(errno.EAGAIN):
            await far.read(11, 100, wait=False)


async def test_a_read_that_was_interrupted_loses_nothing() -> None:
    async with a_place() as place, place.client() as link:
        ino = await make(link, b"h")
        far = await reader(link, ino, b"h")
        with trio.move_on_after(0.01):
            await far.read(0, 100, wait=True)
        await say(link, ino, b"later")
        assert await far.read(0, 3, wait=True) == b"lat"
        assert await far.read(3, 3, wait=True) == b"er"


async def test_poll_tells_once_and_end_of_file_comes_through() -> None:
    async with a_place() as place, place.client() as link:
        ino = await make(link, b"h")
        far = await reader(link, ino, b"h")
        told: list[int] = []
        assert not far.poll(10, lambda: told.append(1))
        await wait_all_tasks_blocked()
        await say(link, ino, b"x")
        await wait_all_tasks_blocked()
        assert told == [1]
        assert far.poll(10, None)
        assert await far.read(0, 10, wait=False) == b"x"
        assert not far.poll(10, lambda: told.append(1))
        await wait_all_tasks_blocked()
        await link.call(wire.Command(b"eof h"), wire.Done)
        await wait_all_tasks_blocked()
        assert told == [1, 1]
        assert await far.read(1, 10, wait=True) == b""


@pytest.mark.parametrize(
    ("rights", "asked", "number"),
    [
        ([], wire.Open(1, 3, b"", 0), errno.EACCES),
        (["append"], wire.Open(1, 3, b"", 0), errno.EACCES),
        (["read"], wire.Write(3, 0, 1, b"x"), errno.EACCES),
        (["read", "append"], wire.Write(3, 0, 1, b"x"), errno.EACCES),  # mode 0644, not its owner
        (["read"], wire.Open(1, 4, b"", 0), errno.EACCES),  # mode 0600
        (["read"], wire.Create(ROOT_INO, b"new", 0o644), errno.EACCES),
        (["create"], wire.Create(ROOT_INO, b"open", 0o644), errno.EEXIST),
        (["create"], wire.Remove(ROOT_INO, b"open"), errno.EPERM),
        (["create"], wire.Rename(ROOT_INO, b"open", ROOT_INO, b"x", 1), errno.EPERM),
        (["create"], wire.SetMode(3, 0o777), errno.EPERM),
        (["read", "append", "create"], wire.Command(b"quit"), errno.EPERM),
        (["read", "append", "create"], wire.Command(b"freeze open"), errno.EPERM),
        (["control"], wire.Command(b"nonsense"), errno.EINVAL),
        (["control"], wire.Command(b"nonsense\0" + "\u20ac\0".encode() * 1000), errno.EINVAL),
        (["control"], wire.Remove(ROOT_INO, b"ctl"), errno.EPERM),
        (["read"], wire.Open(1, CTL_INO, b"", 0), errno.EISDIR),
        (["read"], wire.GetFacts(99), errno.ESTALE),
        (["read"], wire.Read(9, 0, 10, 0, 1), errno.EBADF),
        (RIGHTS, wire.Write(3, 0, 1, bytes(700_000)), errno.EMSGSIZE),
    ],
)
async def test_what_a_visitor_may_not(rights: list[str], asked: wire.Request, number: int) -> None:
    async with a_place() as place, place.client() as owner:
        assert await make(owner, b"open") == 3
        assert await make(owner, b"closed", 0o600) == 4
        before = place.service.status().splitlines()[:5]
        async with place.client(Visitor("ann", frozenset(rights))) as ann:
            with _raises(number):
                await ann.call(asked, wire.REPLY_TO[type(asked)])
        assert place.service.status().splitlines()[:5] == before
        assert not place.quit.is_set()


async def test_what_is_ones_own() -> None:
    async with (
        a_place() as place,
        place.client(Visitor("ann", frozenset(["read", "append", "create"]))) as ann,
    ):
        ino = await make(ann, b"mine", 0o600)
        assert await say(ann, ino, b"x") == 1
        await ann.call(wire.Command(b"freeze mine\nmelt mine"), wire.Done)
        await ann.call(wire.SetMode(ino, 0o644), wire.Told)
        await ann.call(wire.Rename(ROOT_INO, b"mine", ROOT_INO, b"our", 1), wire.Done)
        assert [n.name for n in (await ann.call(wire.List(ROOT_INO, 0), wire.Names)).names] == [
            b"ctl",
            b"our",
        ]
        await ann.call(wire.Remove(ROOT_INO, b"our"), wire.Done)


def test_rights_in_records() -> None:
    assert rights_of(frozenset(["hub"])) == frozenset(RIGHTS)
    assert rights_of(frozenset(["venti", "hub.read", "hub.append"])) == {"read", "append"}
    assert rights_of(frozenset(["venti"])) == frozenset()


async def test_a_reader_goes_on_where_it_was_and_says_what_it_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_place(Settings(capacity=10)) as place, place.client() as link:
        ino = await make(link, b"h")
        far = await reader(link, ino, b"h")
        await say(link, ino, b"0123")
        assert await far.read(0, 2, wait=True) == b"01"
        await place.cut()
        node = place.names.find("h")
        await place.flow.write(node, b"45")
        assert await far.read(2, 100, wait=True) == b"2345"
        assert link.connects == 2
        place.reachable = False
        await place.cut()
        await place.flow.write(node, b"abcdefghij")
        await place.flow.write(node, b"klm")
        assert b"lag 10 lost 3" in place.service.status()
        place.reachable = True
        assert await far.read(6, 100, wait=True) == b"defghijklm"
        assert (far.lost, caplog.messages[-1]) == (3, "h: 3 bytes lost")


async def test_a_server_that_began_anew_has_new_hubs(caplog: pytest.LogCaptureFixture) -> None:
    async with a_place() as place, place.client() as link:
        ino = await make(link, b"h")
        far = await reader(link, ino, b"h")
        await say(link, ino, b"old")
        assert await far.read(0, 100, wait=True) == b"old"
        place.start()
        place.names.create(place.names.root, b"h", 0o644, 0, 0, 0)
        await place.cut()
        await place.flow.write(place.names.find("h"), b"new")
        assert await far.read(3, 100, wait=True) == b"new"
        assert "made anew" in caplog.text


async def test_a_write_is_stored_once_however_often_it_is_sent() -> None:
    async with a_place() as place, place.client() as link:
        ino = await make(link, b"h")
        hub = hub_of(place.names.find("h"))
        for number in range(20):
            call = link.begin(wire.Write(ino, 0, 1, b"%02d " % number))
            for _ in range(number % 7):  # cut at different moments
                await trio.lowlevel.checkpoint()
            await place.cut()
            await call.wait()
            assert call.result(wire.Wrote).size == 3
        assert hub.read_frozen(0, 1000) == b"".join(b"%02d " % n for n in range(20))
        assert link.connects > 5


async def test_fear_holds_a_writer_for_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    async with a_place() as place, place.client() as link:
        ino = await make(link, b"h")
        run_command(place.names, b"fear h")
        node = place.names.find("h")
        slow = hub_of(node).attach()
        await say(link, ino, bytes(80_000))
        held = link.begin(wire.Write(ino, 0, 1, b"held"))
        other = await make(link, b"other")
        await trio.sleep(25)
        assert not held.done
        assert await say(link, other, b"goes on") == 7
        await place.cut()  # held over a reconnect, and stored once
        await trio.sleep(5)
        assert not held.done
        await place.flow.read(node, slow, 1 << 20)
        await held.wait()
        assert hub_of(node).end == 80_004


async def test_without_a_server_calls_fail_in_time_and_reads_wait(
    autojump_clock: MockClock,
) -> None:
    async with a_place() as place, place.client() as link:
        ino = await make(link, b"h")
        far = await reader(link, ino, b"h")
        got: list[bytes] = []

        async def read() -> None:
            got.append(await far.read(0, 100, wait=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            place.reachable = False
            await place.cut()
            begun = trio.current_time()
            with _raises(errno.EHOSTUNREACH):
                await link.call(wire.GetStatus(), wire.Status)
            assert trio.current_time() - begun <= link_module.DEADLINE_SECONDS + 1
            with _raises(errno.EHOSTUNREACH):
                await link.call(wire.GetStatus(), wire.Status)
            assert got == []
            place.reachable = True
            await trio.sleep(3)
            await say(link, ino, b"back")
        assert got == [b"back"]


async def test_a_client_that_stays_away_is_forgotten(autojump_clock: MockClock) -> None:
    async with a_place() as place, trio.open_nursery() as nursery:
        nursery.start_soon(place.service.keep_house)
        async with place.client() as link:
            await reader(link, await make(link, b"h"), b"h")
            assert b"readers 1" in place.service.status()
        await wait_all_tasks_blocked()
        assert b"away readers 1" in place.service.status()
        hub_of(place.names.find("h"))
        import time

        real = time.monotonic
        try:
            time.monotonic = lambda: real() + SESSION_SECONDS + 1
            await trio.sleep(SESSION_SECONDS)
        finally:
            time.monotonic = real
        assert b"client" not in place.service.status()
        assert b"readers 0" in place.service.status()
        nursery.cancel_scope.cancel()


async def test_where_there_is_no_room_who_is_away_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 3)
    async with a_place() as place, place.client() as link:
        ino = await make(link, b"h")
        for _ in range(5):
            async with place.client(Visitor("ann", frozenset(RIGHTS))) as ann:
                await reader(ann, ino, b"h")
            await wait_all_tasks_blocked()
        assert place.service.status().count(b"client ann at here: away readers 1") == 2
        assert b"h: bytes 0 readers 2 " in place.service.status()
        assert b"client op at here: readers 0" in place.service.status()
        async with place.client(), place.client():
            late = Link(place.connect(ALL), "place")
            with pytest.raises(RemoteProtocolError, match="3 clients are the limit"):
                await late.run()


async def test_bye_ends_the_link() -> None:
    async with a_place() as place:
        link = Link(place.connect(ALL), "place")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            await link.up.wait()
            await place.service.say_bye()
        with _raises(errno.EHOSTUNREACH):
            await link.call(wire.GetStatus(), wire.Status)


async def test_nonsense_ends_one_connection_and_no_other() -> None:
    async with a_place() as place, place.client() as link:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.service.converse, theirs, ALL, "there")
            await ours.send_all(b"\xff" * 100)
            assert await ours.receive_some() == b""
        assert await link.call(wire.Ping(), wire.Done) == wire.Done()
