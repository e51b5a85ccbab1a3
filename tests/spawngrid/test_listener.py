"""A node's listener: who comes in when others take all places, and what the operator is told."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from lib9 import secure
from lib9.errors import Refused
from lib9.keys import Identity, Peer, Peers
from spawngrid.node import listener as listening
from spawngrid.node.listener import Guest, Listener, Service

NODE, GLENDA, CPU = (Identity.generate() for _ in range(3))
PEERS = (
    Peer("glenda", True, GLENDA.public, (), frozenset(("grid",))),
    Peer("cpu1", False, CPU.public, (), frozenset(("venti", "cpu"))),
)


class Node:
    """A listener with one service, which says back what it is told."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.dialled: list[trio.SocketStream] = []

    async def dial(self) -> trio.SocketStream:
        self.dialled.append(await trio.open_tcp_stream(*self.address))
        return self.dialled[-1]

    async def connect(self, who: Identity) -> secure.SecureStream:
        keys = NODE.channel_keys().public
        return await secure.connect(await self.dial(), who.channel_keys(), keys, "echo")


async def echo(stream: trio.abc.Stream, _guest: Guest, _place: str) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)


@asynccontextmanager
async def serving(peers: Sequence[Peer] = PEERS) -> AsyncIterator[Node]:
    services = {"echo": Service(lambda _: True, echo)}
    listener = Listener(NODE, services, lambda: Peers(peers), None)
    async with trio.open_nursery() as nursery:
        [listeners] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(listener.keep_house)
        nursery.start_soon(trio.serve_listeners, listener, [listeners])
        node = Node(listeners.socket.getsockname()[:2])
        yield node
        for stream in node.dialled:
            await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel()


async def said_back(stream: secure.SecureStream) -> bytes:
    await stream.send_all(b"hello")
    return bytes(await stream.receive_some())


async def test_who_is_silent_keeps_nobody_out() -> None:
    async with serving() as node:
        silent = [await node.dial() for _ in range(2 * listening.HANDSHAKES_MAX)]
        assert await said_back(await node.connect(GLENDA)) == b"hello"
        assert await silent[0].receive_some(1) == b"", "the slowest gave way"


async def test_nobody_takes_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CONNECTIONS_OF_ONE_MAX", 3)
    async with serving() as node:
        mine = [await node.connect(GLENDA) for _ in range(3)]
        for stream in mine:
            assert await said_back(stream) == b"hello"
        with pytest.raises(Refused, match="3 connections of yours are there already"):
            await said_back(await node.connect(GLENDA))
        for _ in range(5):  # whose right to venti says that every mount of theirs has its own
            assert await said_back(await node.connect(CPU)) == b"hello"
        await mine[0].aclose()
        with trio.fail_after(30):
            while True:
                try:
                    assert await said_back(await node.connect(GLENDA)) == b"hello"
                    break
                except Refused:
                    await trio.sleep(0.01)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.01)


async def test_a_breach_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as node:
        whole = await node.connect(GLENDA)
        assert await said_back(whole) == b"hello"
        await whole.aclose()
        cut = await node.connect(GLENDA)
        assert await said_back(cut) == b"hello"
        await trio.aclose_forcefully(cut)  # as of a client that was killed: nothing to be told
        changed = await node.connect(GLENDA)
        assert await said_back(changed) == b"hello"
        await node.dialled[-1].send_all(b"\0\x20" + bytes(32))
        await until(lambda: bool(told(caplog)))
    assert told(caplog) == ["noise!127.0.0.1: glenda: cut off: a message fails its authentication"]


async def test_strangers_do_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "TOLD_MAX", 5)
    async with serving() as node:
        for _ in range(20):
            stranger = await node.dial()
            await stranger.send_all(b"GET / HTTP/1.0\r\n\r\n")
            assert await stranger.receive_some(1) == b""
        assert await said_back(await node.connect(GLENDA)) == b"hello"
    assert len(told(caplog)) == 5
    assert told(caplog)[-1].endswith("(and no more of this for 60 s)")


async def test_who_is_known_no_more_is_cut_off(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HOUSE_SECONDS", 0.02)
    known = list(PEERS)
    async with serving(known) as node:
        glenda, cpu = await node.connect(GLENDA), await node.connect(CPU)
        assert await said_back(glenda) == await said_back(cpu) == b"hello"
        del known[0]
        await until(lambda: bool(told(caplog)))
        with pytest.raises(trio.BrokenResourceError):
            await glenda.receive_some()
        assert await said_back(cpu) == b"hello"
    assert told(caplog) == ["glenda: cut off: has no right to echo any longer"]
