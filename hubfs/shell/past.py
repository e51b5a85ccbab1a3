"""What a screen is shown that joins a terminal late: the past of its shell, without questions in it. Pure.

Programs ask a terminal where its cursor is and what it can do; it answers as if that were typed. Shown
once more to somebody who joins later, a question would be answered to whatever runs by then.

Source: ECMA-48; XTerm Control Sequences.
"""

import re

# every alternative is a request that a terminal answers
_QUESTIONS = re.compile(
    rb"\x1b\[\??[0-9;]*n"  # device status: where is the cursor?
    rb"|\x1b\[[>=]?[0-9;]*c"  # device attributes: what are you?
    rb"|\x1b\[[0-9;]*x"  # terminal parameters
    rb"|\x1b\[\??[0-9;]*\$p"  # is this mode on?
    rb"|\x1b\[>[0-9;]*q"  # name and version
    rb"|\x1b\[\?u"  # keyboard mode
    rb"|\x1b\[(?:1[1345689]|2[01])(?:;[0-9;]*)?t"  # size and title of the window
    rb"|\x1b\][0-9]+;(?:[^\x07\x1b]*;)?\?(?:\x07|\x1b\\)"  # colours, clipboard
    rb"|\x1bP[+$]q[^\x07\x1b]*(?:\x07|\x1b\\)"  # capabilities, settings
    rb"|\x1bZ|\x05"  # what are you, and who?
)
# the beginning of a sequence whose end has not come yet
_BEGUN = re.compile(
    rb"\x1b(?:\[[0-9;?>=$]{0,64}|\][^\x07\x1b]{0,256}\x1b?|P[^\x07\x1b]{0,256}\x1b?)?\Z"
)


def without_questions(said: bytes) -> tuple[bytes, bytes]:
    """Return what may be shown of `said`, and its last bytes if they are the beginning of a sequence."""
    begun = _BEGUN.search(said)
    end = begun.start() if begun is not None else len(said)
    return _QUESTIONS.sub(b"", said[:end]), said[end:]
