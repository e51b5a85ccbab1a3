"""`python -m tests.kit.relay PORT DELAY_MS [--count]`: a TCP relay that delivers late, each way.

Prints its port; with --count, for each line on stdin, the bytes it has carried.
"""

import sys
from functools import partial

import trio

HOST = "127.0.0.1"
PIECES_MAX = 10_000  # under way in one direction
carried = [0]  # bytes


async def pump(source: trio.SocketStream, to: trio.SocketStream, delay: float) -> None:
    send, receive = trio.open_memory_channel[tuple[float, bytes]](PIECES_MAX)

    async def take() -> None:
        async with send:
            async for data in source:
                carried[0] += len(data)
                await send.send((trio.current_time() + delay, data))

    async def give() -> None:
        async for at, data in receive:
            await trio.sleep_until(at)
            await to.send_all(data)
        await to.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        nursery.start_soon(give)


async def tell_count() -> None:
    async for _ in trio.lowlevel.FdStream(0):
        print(carried[0], flush=True)


async def main(port: int, delay: float, *, count: bool) -> None:
    async def relay(client: trio.SocketStream) -> None:
        try:
            await trio.sleep(2 * delay)  # what a handshake of TCP takes
            server = await trio.open_tcp_stream(HOST, port)
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(pump, client, server, delay)
                nursery.start_soon(pump, server, client, delay)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            await trio.aclose_forcefully(client)  # an end went away, or nobody answers there

    listeners = await trio.open_tcp_listeners(0, host=HOST)
    print(listeners[0].socket.getsockname()[1], flush=True)
    async with trio.open_nursery() as nursery:
        if count:
            nursery.start_soon(tell_count)
        await trio.serve_listeners(relay, listeners)


if __name__ == "__main__":
    run = partial(main, int(sys.argv[1]), float(sys.argv[2]) / 1000, count="--count" in sys.argv)
    trio.run(run)
