"""`venti serve` as a real process: every kind of address, keys, its end, and kill -9."""

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

import pytest
import trio

from lib9 import keys, places, streams
from lib9.errors import Refused
from tests.contracts.block_store import blocks_of, keys_of
from venti_store.errors import HashMismatch, ReadOnly, Unreachable
from venti_store.open import open_store
from venti_store.reach import connector
from venti_store.score import BLAKE3, FAMILIES, SHA1
from venti_store.stores.lmdb.environment import create
from venti_store.stores.lmdb.store import LmdbStore

VENTI = Path(sysconfig.get_path("scripts")) / "venti"
BLOCKS = blocks_of(BLAKE3, *(os.urandom(20_000) for _ in range(50)))
KEYS = keys_of(BLOCKS)


class Server:
    """A running `venti serve`."""

    def __init__(self, store, *options, environ=None, **popen):
        self.process = subprocess.Popen(
            [VENTI, "serve", str(store), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environ or {})},
            **popen,
        )
        wanted = options.count("--listen")
        self.addresses = [self.process.stdout.readline().strip() for _ in range(wanted)]

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@pytest.fixture
def serve(home):
    running = []

    def start(*args, **rest):
        running.append(Server(*args, **rest))
        return running[-1]

    yield start
    for server in running:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


@pytest.fixture
def store(tmp_path):
    create(str(tmp_path / "store"), BLAKE3)
    return tmp_path / "store"


@pytest.mark.parametrize("address", ["unix!{}/venti", "tcp!127.0.0.1!0"])
async def test_blocks_go_there_and_back(store, serve, tmp_path, address):
    server = serve(store, "--listen", address.format(tmp_path))
    [address] = server.addresses
    far = await open_store(address)
    await far.put_many(BLOCKS)
    await far.sync()
    assert await far.get_many(KEYS) == [block.data for block in BLOCKS]
    await far.aclose()
    assert server.end() == (0, "")
    near = LmdbStore(str(store))
    assert await near.get_many(KEYS) == [block.data for block in BLOCKS]
    await near.aclose()
    assert not (tmp_path / "venti").exists()


async def test_100_mib_through_tcp_and_through_the_path(store, serve, tmp_path):
    data = [os.urandom(64 << 10) for _ in range(16)]
    halves = [
        blocks_of(BLAKE3, *(b"%d %d" % (half, n) + data[n % 16] for n in range(800)))
        for half in range(2)
    ]
    server = serve(store, "--listen", "tcp!127.0.0.1!0")
    far, near = await open_store(server.addresses[0]), LmdbStore(str(store))
    for writer, reader, blocks in ((far, near, halves[0]), (near, far, halves[1])):
        await writer.put_many(blocks)
        await writer.sync()
        assert await reader.get_many(keys_of(blocks)) == [block.data for block in blocks]
    await far.aclose()
    await near.aclose()
    assert server.end()[0] == 0


def settle(home, *users):
    """Make keys for a server and for some users, and the records that let them in."""
    server = keys.create(str(home / "server" / "key"))
    records = [f"sys=sto1 dial={{}} pubkey={keys.format_key(server.public)}"]
    for name, right in users:
        user = keys.create(str(home / name / "spawngrid" / "key"))
        records.append(f"user={name} pubkey={keys.format_key(user.public)} {right}")
    (home / "server" / "ndb").write_text("".join(f"{record}\n" for record in records[1:]))
    return records[0]


def use(home, name, record, address):
    (home / name / "spawngrid" / "ndb").write_text(record.format(address) + "\n")
    places.use({"XDG_CONFIG_HOME": str(home / name)})


async def test_noise_lets_in_whose_key_has_the_right(store, serve, home):
    record = settle(
        home, ("glenda", "right=venti"), ("reader", "right=venti-read"), ("mallory", "right=hub")
    )
    keys.create(str(home / "stranger" / "spawngrid" / "key"))
    folder = home / "server"
    options = ("--listen", "noise!127.0.0.1!0", "--key", folder / "key", "--peers", folder / "ndb")
    server = serve(store, *options)
    [address] = server.addresses
    use(home, "glenda", record, address)
    far = await open_store(address)
    await far.put_many(BLOCKS)
    await far.sync()
    use(home, "reader", record, address)
    reading = await open_store(address)
    assert await reading.get_many(KEYS) == [block.data for block in BLOCKS]
    await reading.put_many(blocks_of(BLAKE3, b"new"))
    with pytest.raises(ReadOnly):
        await reading.sync()
    for name, why in (
        ("mallory", "mallory has no right to venti here"),
        ("stranger", "this key is not known here"),
    ):
        use(home, name, record, address)
        with pytest.raises(Refused, match=why):
            await open_store(address)
    # a right that is given or taken counts from the next connection on
    stranger = keys.load(str(home / "stranger" / "spawngrid" / "key"))
    line = f"user=stranger right=venti pubkey={keys.format_key(stranger.public)}\n"
    (folder / "ndb").write_text((folder / "ndb").read_text() + line)
    again = await open_store(address)
    assert await again.have_many(KEYS[:1]) == [True]
    for one in (far, again):
        await one.aclose()
    with pytest.raises(ReadOnly):
        await reading.aclose()
    status, errors = server.end()
    assert status == 0
    assert "mallory has no right" in errors


async def test_noise_to_the_wrong_server(store, serve, home):
    record = settle(home, ("glenda", "right=venti"))
    other = keys.create(str(home / "other" / "key"))
    server = serve(store, "--listen", "noise!127.0.0.1!0", "--key", home / "other" / "key")
    [address] = server.addresses
    use(home, "glenda", record, address)
    with pytest.raises(Unreachable, match="the handshake failed"):
        await open_store(address)
    assert other
    with pytest.raises(keys.BadKey, match=r"no record in .*ndb with dial="):
        connector(streams.parse_dial("noise!127.0.0.1!1"), "venti")


async def test_read_only(store, serve):
    server = serve(store, "--listen", "tcp!127.0.0.1!0", "--read-only")
    far = await open_store(server.addresses[0])
    await far.put_many(BLOCKS)
    with pytest.raises(ReadOnly):
        await far.sync()
    await far._session.aclose()


async def test_kill_9_between_answer_and_sync_loses_nothing(store, serve, tmp_path):
    address = f"unix!{tmp_path}/venti"
    server = serve(store, "--listen", address)
    far = await open_store(address)
    await far.put_many(BLOCKS)
    with trio.fail_after(20):
        while far._writes and not all(call.done for call, _ in far._writes):
            await trio.sleep(0.01)
    assert server.end(signal.SIGKILL)[0] == -signal.SIGKILL
    # the worst that may have become of what was answered and not synced: nothing is there
    shutil.rmtree(store)
    create(str(store), BLAKE3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.sync)
        await trio.sleep(0.2)
        serve(store, "--listen", address)
    near = LmdbStore(str(store))
    assert await near.get_many(KEYS) == [block.data for block in BLOCKS]
    await near.aclose()
    await far.aclose()


async def test_kill_9_under_load(store, serve, tmp_path):
    """Whatever `sync` had returned for is there, at whatever moment the server was killed."""
    address = f"unix!{tmp_path}/venti"
    server = serve(store, "--listen", address)
    far = await open_store(address)
    synced = []
    for round_ in range(4):
        blocks = blocks_of(BLAKE3, *(b"%d %d " % (round_, n) * 3000 for n in range(100)))

        async def write(blocks=blocks):
            for start in range(0, 100, 10):
                await far.put_many(blocks[start : start + 10])
                await far.sync()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.sleep(0.02 * round_)
            server.end(signal.SIGKILL)
            server = serve(store, "--listen", address)
        synced += blocks
        server.end(signal.SIGKILL)
        near = LmdbStore(str(store))
        assert await near.get_many(keys_of(synced)) == [block.data for block in synced]
        await near.aclose()
        server = serve(store, "--listen", address)
    await far.aclose()


def test_what_cannot_be_served_says_why(store, tmp_path, home, serve):
    def run(*args):
        return subprocess.run([VENTI, "serve", *args], capture_output=True, text=True, timeout=30)

    taken = serve(store, "--listen", "tcp!127.0.0.1!0").addresses[0]
    for args, status, error in (
        ([store], 2, "nothing to listen on"),
        ([store, "--listen", "tls!x!1"], 2, "tls!x!1: not an address"),
        ([store, "--listen", taken], 1, "in use"),
        ([tmp_path / "none", "--listen", "tcp!127.0.0.1!0"], 6, "none"),
        ([store, "--listen", "noise!127.0.0.1!0"], 2, "no key there (make one with"),
        ([store, "--listen", f"unix!{tmp_path}/s", "--socket-mode", "9"], 2, "not an octal mode"),
    ):
        done = run(*map(str, args))
        assert done.returncode == status, done.stderr
        assert error in done.stderr
        assert done.stderr.startswith("venti: ")
        assert done.stderr.count("\n") == 1


def test_sockets_that_are_passed_and_readiness_that_is_told(store, tmp_path, home):
    sock = socket.create_server(("127.0.0.1", 0))
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(20)
    # the process that is started learns its own id only once it runs: a shell tells it, and puts the
    # socket where it is looked for: descriptor 3 of the tests themselves is someone else's
    script = f'exec 3<&0 0</dev/null; exec env LISTEN_PID=$$ LISTEN_FDS=1 "{VENTI}" serve "{store}"'
    process = subprocess.Popen(
        ["sh", "-c", script],
        stdin=sock,
        env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
    )
    assert told.recv(100) == b"READY=1"
    address = f"tcp!127.0.0.1!{sock.getsockname()[1]}"

    async def look():
        far = await open_store(address)
        assert await far.have_many(KEYS[:1]) == [False]
        await far.aclose()

    trio.run(look)
    process.terminate()
    assert told.recv(100) == b"STOPPING=1"
    assert process.wait(20) == 0
    sock.close()
    told.close()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_other_commands_work_over_a_socket(tmp_path, serve, family):
    create(str(tmp_path / "s"), FAMILIES[family])
    server = serve(tmp_path / "s", "--listen", f"unix!{tmp_path}/venti")
    [address] = server.addresses
    data = b"hello world"
    score = subprocess.run(
        [VENTI, "write", "-s", address], input=data, capture_output=True, check=True
    ).stdout.decode().strip()  # fmt: skip
    assert FAMILIES[family].score(data).hex() in score
    done = subprocess.run([VENTI, "read", "-s", address, score], capture_output=True, check=True)
    assert done.stdout == data
    other = next(f for f in FAMILIES.values() if f.name != family).score(data).hex()
    done = subprocess.run([VENTI, "read", "-s", address, other], capture_output=True, text=True)
    assert done.returncode == 6
    assert "its hash is " + family in done.stderr
    server.end()
    began = time.monotonic()
    done = subprocess.run([VENTI, "read", "-s", address, score], capture_output=True, text=True)
    assert done.returncode == 10
    assert done.stderr.startswith(f"venti: {address}: ")
    assert time.monotonic() - began < 10


async def test_a_store_of_another_hash_is_refused(tmp_path, serve):
    create(str(tmp_path / "s"), SHA1)
    server = serve(tmp_path / "s", "--listen", "tcp!127.0.0.1!0")
    with pytest.raises(HashMismatch, match="its hash is sha1, not blake3"):
        await open_store(server.addresses[0], BLAKE3)


def as_user(uid, job):
    """Run `job` in a child process as another user; return its exit status, 1 if it raised."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            job()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.root
def test_a_store_of_another_user_is_reached_through_its_socket(serve):
    with tempfile.TemporaryDirectory(prefix="venti-") as top:
        os.chmod(top, 0o755)
        create(f"{top}/store", BLAKE3)
        [address] = serve(
            f"{top}/store", "--listen", f"unix!{top}/open", "--socket-mode", "0666"
        ).addresses
        [closed] = serve(f"{top}/store", "--listen", f"unix!{top}/closed").addresses

        async def use(where):
            store = await open_store(where)
            await store.put_many(BLOCKS)
            await store.sync()
            assert await store.get_many(KEYS) == [block.data for block in BLOCKS]
            await store.aclose()

        trio.run(use, f"{top}/store")  # imports all that the child needs, and may not read
        trio.run(use, address)
        assert as_user(65534, lambda: trio.run(use, address)) == 0
        for refused in (closed, f"{top}/store"):
            assert as_user(65534, lambda where=refused: trio.run(use, where)) == 1
