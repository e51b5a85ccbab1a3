"""A process that reads files and stores their blocks itself, on behalf of one that scans.

Started with a socket as its standard input. It ends when the socket does, and after an error of
the store, which it passes on. An interrupt from the terminal is for the process that scans.
"""

import gc
import os
import pickle
import signal
import socket
from typing import Final

from fossil_fs.ingest.exchange import FAILED, READ, SYNC, flat_chunk, receive, send
from fossil_fs.ingest.feed import Intake, Sink
from fossil_fs.ingest.files import read_chunk
from lib9.waiting import run_now
from venti_store.interfaces import BlockStore
from venti_store.open import open_store
from venti_store.score import FAMILIES

BATCH_BYTES: Final = 192 << 10  # put at once: below what a store would split over two threads


def main() -> None:
    """Serve the socket that is the standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # nothing here makes cycles, and looking for them takes a twentieth of the time
    connection = socket.socket(fileno=0)
    try:
        started = receive(connection)
        if started is not None:
            _, address, hash_name, dsize = started[0]
            store = run_now(open_store(address, FAMILIES[hash_name]))
            _serve(connection, store, dsize)
    except (BrokenPipeError, ConnectionResetError, EOFError):
        pass  # nobody is left to tell
    except Exception as error:  # noqa: BLE001 - raised again in the process that scans
        send(connection, (FAILED, pickle.dumps(error)))


def _serve(connection: socket.socket, store: BlockStore, dsize: int) -> None:
    intake = Intake(store)
    sink = Sink(intake, BATCH_BYTES)
    while (received := receive(connection)) is not None:
        message, fd = received
        if message[0] == SYNC:
            sink.flush()
            intake.sync()
            send(connection, (SYNC, intake.fed.blocks, intake.fed.size))
        elif message[0] == READ and fd is not None:
            try:
                chunk = read_chunk(sink, fd, message[1], message[2], dsize)
            finally:
                os.close(fd)
            send(connection, flat_chunk(chunk))
        else:
            raise ValueError(f"request {message[0]}")
    run_now(store.aclose())
