import socket
from pathlib import Path

from lib9.errors import SpawngridError, UsageError, single_error
from lib9.sockets import socket_path


def test_a_socket_deep_in_the_tree(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(4):
        folder = folder / ("d" * 50)
    folder.mkdir(parents=True)
    path = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with socket_path(path) as short:
            server.bind(short)
        server.listen()
        assert (folder / "socket").is_socket()
        with socket_path(path) as short:
            client.connect(short)


def test_a_short_path_is_itself(tmp_path: Path) -> None:
    with socket_path("/tmp/s") as short:
        assert short == "/tmp/s"


def test_the_fact_inside_groups() -> None:
    fact = UsageError("x")
    other = ValueError("y")
    assert single_error(fact) is fact
    assert single_error(ExceptionGroup("", [ExceptionGroup("", [other])])) is other
    assert single_error(ExceptionGroup("", [other, fact])) is fact
    both = ExceptionGroup("", [other, KeyError("z")])
    assert single_error(both) is both
    assert issubclass(UsageError, SpawngridError)
