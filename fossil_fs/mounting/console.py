"""Talking to the console of a mount. See lib9.asking for the lines.

Only the mount's owner and root are answered (SO_PEERCRED). Clients use blocking sockets: short
commands have no event loop to load.
"""

from typing import Final

from lib9.asking import Conversation, NoAnswerInTime, NobodyThere
from lib9.errors import Exit

START_SECONDS_MAX: Final = 10.0  # a loaded machine takes seconds to import a daemon
ANSWER_SECONDS_MAX: Final = 10.0  # for words that wait for nothing

# before these, what the kernel holds back is written out
SYNCED_WORDS: Final = frozenset(("save", "snap", "sync", "halt"))
# these are answered at once, whatever the mount does
QUICK_WORDS: Final = frozenset(("status", "stats", "df", "last", "help", "who", "unhalt"))


class Unanswered(NobodyThere):
    """The daemon of a mount is gone, or does not answer."""

    exit_code = Exit.MOUNT


class Console:
    """A conversation with a mount's daemon."""

    def __init__(self, path: str) -> None:
        """Connect, waiting for a daemon that is starting; Unanswered if there is nobody."""
        try:
            self._daemon = Conversation(path, start_seconds_max=START_SECONDS_MAX)
        except NobodyThere as error:
            raise Unanswered(str(error)) from None
        self.wait_for_end = self._daemon.wait_for_end
        self.close = self._daemon.close

    def ask(self, *words: str) -> tuple[list[str], str]:
        """Return the data lines and the text after `ok`; Answered, Unanswered.

        A save takes what it takes; QUICK_WORDS are not waited for longer than ANSWER_SECONDS_MAX.
        """
        quick = words[0] in QUICK_WORDS
        try:
            return self._daemon.ask(*words, seconds_max=ANSWER_SECONDS_MAX if quick else None)
        except NoAnswerInTime:
            raise Unanswered(
                "the mount's daemon does not answer (fossil-umount --force ends the mount)"
            ) from None
        except NobodyThere as error:
            raise Unanswered(str(error)) from None
