"""The grammar of a line, whatever is on it: quotes, comments, white space around `=`. Pure."""

import re
from collections.abc import Iterator

PAIR = re.compile(
    r"""[ \t\r]*
    (?!\#)(?P<attr>[^= \t\r\n]*)
    (?: (?P<gap>[ \t\r]*) =
        (?: "(?P<quoted>[^"\n]*) (?P<close>"?)
          | (?=\#)                     # a comment where a value would be: the value is empty
          | (?P<plain>[^ \t\r\n]*) ) )?""",
    re.VERBOSE,
)


def tokens(line: str) -> Iterator[re.Match[str]]:
    """Yield a match of PAIR for each pair of a line, up to its end or a comment."""
    position = 0
    while (match := PAIR.match(line, position)) and match.end() > position:
        if not match["attr"] and match["gap"] is None:
            return  # trailing white space
        yield match
        position = match.end()
