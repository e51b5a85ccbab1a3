"""`python -m tests.kit.relay PORT DELAY_MS`: a TCP relay that delivers late, each way; prints its port."""

import sys

import trio

HOST = "127.0.0.1"
PIECES_MAX = 10_000  # under way in one direction


async def pump(source: trio.SocketStream, to: trio.SocketStream, delay: float) -> None:
    send, receive = trio.open_memory_channel[tuple[float, bytes]](PIECES_MAX)

    async def take() -> None:
        async with send:
            async for data in source:
                await send.send((trio.current_time() + delay, data))

    async def give() -> None:
        async for at, data in receive:
            await trio.sleep_until(at)
            await to.send_all(data)
        await to.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        nursery.start_soon(give)


async def main(port: int, delay: float) -> None:
    async def relay(client: trio.SocketStream) -> None:
        try:
            await trio.sleep(2 * delay)  # what a handshake of TCP takes
            server = await trio.open_tcp_stream(HOST, port)
            async with server, trio.open_nursery() as nursery:
                nursery.start_soon(pump, client, server, delay)
                nursery.start_soon(pump, server, client, delay)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    listeners = await trio.open_tcp_listeners(0, host=HOST)
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(relay, listeners)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), float(sys.argv[2]) / 1000)
