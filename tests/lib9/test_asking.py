"""Asking a daemon that answers, refuses, says nothing, goes away, or is not there yet."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib9.asking import Answered, Conversation, NoAnswerInTime, NobodyThere, ask
from lib9.errors import Exit

ANSWERS = {
    b"list 'two words'\n": b"\tone\n\ttwo \xff\nok done with it\n",
    b"nothing\n": b"ok\n",
    b"long\n": b"\t" + b"x" * 200_000 + b"\nok\n",
    b"fail\n": b"\tfound this\nerror 4 no such thing\n",
    b"leave\n": b"\tin the mid",
    b"silence\n": b"",
}


def serve(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client, client.makefile("rb") as lines:
            for line in lines:
                client.sendall(ANSWERS[line])
                if line == b"leave\n":
                    break


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_lines_and_what_is_behind_ok(daemon: str) -> None:
    assert ask(daemon, "list", "two words") == (["one", "two \udcff"], "done with it")
    with Conversation(daemon) as conversation:
        assert conversation.ask("nothing") == ([], "")
        lines, _ = conversation.ask("long")
        assert len(lines[0]) == 200_000
        with pytest.raises(Answered, match=r"^no such thing$") as refused:
            conversation.ask("fail")
        assert refused.value.exit_code == Exit.NOT_FOUND
        assert refused.value.lines == ["found this"]
        assert conversation.ask("nothing") == ([], "")  # it goes on


def test_who_goes_away_or_says_nothing_is_told_apart(daemon: str, tmp_path: Path) -> None:
    with pytest.raises(NobodyThere, match="sock: the daemon went away"):
        ask(daemon, "leave")
    with pytest.raises(NoAnswerInTime, match="sock: no answer in time"):
        ask(daemon, "silence", seconds_max=0.05)
    with pytest.raises(NobodyThere, match="nosuch: nobody listens there"):
        ask(str(tmp_path / "nosuch"), "nothing")


def test_the_end_of_the_daemon_can_be_waited_for(daemon: str) -> None:
    with Conversation(daemon) as conversation:
        assert not conversation.wait_for_end(0.01)
        with pytest.raises(NobodyThere):
            conversation.ask("leave")
        assert conversation.wait_for_end(20)


def test_a_daemon_that_starts_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as listener:

        def start() -> None:
            time.sleep(0.1)  # the conversation has found nobody by then
            listener.bind(path)
            listener.listen()
            client, _ = listener.accept()
            client.recv(100)  # who closed before would be gone while it is asked
            client.sendall(b"ok here\n")
            client.close()

        thread = threading.Thread(target=start)
        thread.start()
        with Conversation(path, start_seconds_max=30) as conversation:
            assert conversation.ask("who") == ([], "here")
        thread.join()
