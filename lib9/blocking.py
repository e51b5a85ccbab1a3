"""A Noise channel over a plain socket, for short commands: no event loop, no threads.

The counterpart of `lib9.secure` for who asks one thing and waits for the answer.
"""

from __future__ import annotations

import socket
from typing import Final

from lib9.channel import DATA_SIZE_MAX, Channel, check_verdict
from lib9.dial import DIAL_SECONDS_MAX, CannotDial, Dial
from lib9.errors import RemoteProtocolError
from lib9.framing import Buffer
from lib9.noise import KeyPair

RECEIVE_SIZE: Final = 256 << 10
HANDSHAKE_SECONDS_MAX: Final = 10.0


class SecureSocket:
    """A connection to the holder of a key. `fileno` may be polled: then `receive` once."""

    def __init__(self, sock: socket.socket, channel: Channel) -> None:
        self._socket = sock
        self._channel = channel
        self._verdict_due = True

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: Buffer) -> None:
        """Send `data`, waiting for room; OSError if the connection is gone."""
        view = memoryview(data)
        for start in range(0, len(view), DATA_SIZE_MAX):
            self._socket.sendall(self._channel.seal(view[start : start + DATA_SIZE_MAX]))

    def receive(self) -> bytes:
        """Return what has come, waiting for one piece of the connection; b"" at the peer's end.

        One piece may hold no whole message: call again. Refused when the peer does not let us in,
        RemoteProtocolError when the connection was cut or tampered with, OSError.
        """
        while True:
            messages = self._channel.messages()
            if messages and self._verdict_due:
                check_verdict(messages.pop(0))
                self._verdict_due = False
                messages = messages or self._channel.messages()  # or what was wrong behind it
            if messages or self._channel.peer_ended:
                return b"".join(messages)
            data = self._socket.recv(RECEIVE_SIZE)
            if not data:
                self._channel.connection_ended()
                return b""
            self._channel.feed(data)

    def set_timeout(self, seconds: float | None) -> None:
        """Let `receive` and `send` raise TimeoutError after so long."""
        self._socket.settimeout(seconds)

    def close(self) -> None:
        """Tell the peer that the stream ends here, as far as it listens, and close."""
        try:
            self._socket.settimeout(0.5)
            self._socket.sendall(self._channel.end())
        except OSError:
            pass  # nobody is left to be told
        finally:
            self._socket.close()


def connect(
    dial: Dial,
    static: KeyPair,
    remote_static: bytes,
    service: str,
    *,
    seconds_max: float = DIAL_SECONDS_MAX,
) -> SecureSocket:
    """Return a connection to the holder of `remote_static`, which may still refuse us.

    CannotDial when nobody answers there; RemoteProtocolError when the peer does not hold that key.
    """
    try:
        sock = socket.create_connection((dial.host, dial.port), timeout=seconds_max)
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise CannotDial(f"{dial}: {why}") from None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(HANDSHAKE_SECONDS_MAX)
        channel = Channel(static, remote_static)
        _shake_hands(sock, channel, dial)
        sock.sendall(channel.seal(service.encode()))
        sock.settimeout(None)
    except OSError as error:
        sock.close()
        raise CannotDial(f"{dial}: {error.strerror or 'no answer'}") from None
    except BaseException:
        sock.close()
        raise
    return SecureSocket(sock, channel)


def _shake_hands(sock: socket.socket, channel: Channel, dial: Dial) -> None:
    sock.sendall(channel.hello())
    while not channel.open:
        data = sock.recv(RECEIVE_SIZE)
        if not data:
            raise RemoteProtocolError(f"{dial}: the connection was cut in the handshake")
        channel.feed(data)
        if channel.messages():
            raise RemoteProtocolError(f"{dial}: a message before we named a service")
