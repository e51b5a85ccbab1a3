"""Which names an archive leaves out: shell patterns over paths below the archived directory.

A pattern without a slash is matched against the name alone, at any depth. With a slash, in front
or inside, it is matched against the whole path. `*`, `?` and `[…]` do not match a slash, `**`
does. A slash at the end limits the pattern to directories. What lies below an excluded directory
is not looked at.
"""

import re
from collections.abc import Iterable


class Exclude:
    """A compiled list of patterns; `Exclude([])` excludes nothing and is false."""

    def __init__(self, patterns: Iterable[bytes]) -> None:
        self._any: list[str] = []
        self._directories: list[str] = []
        for pattern in patterns:
            (self._directories if pattern.endswith(b"/") else self._any).append(_regex(pattern))
        self._match_any = _compile(self._any)
        self._match_directory = _compile(self._any + self._directories)

    def __bool__(self) -> bool:
        return bool(self._any or self._directories)

    def __call__(self, path: bytes, *, directory: bool) -> bool:
        """Tell whether `path` (relative, no slash in front) is to be left out."""
        return bool((self._match_directory if directory else self._match_any).fullmatch(path))


def _compile(regexes: list[str]) -> re.Pattern[bytes]:
    return re.compile(("|".join(regexes) or r"(?!)").encode("latin-1"), re.DOTALL)


def _regex(pattern: bytes) -> str:
    text = pattern.decode("latin-1").rstrip("/")
    anchored = "/" in text
    return ("" if anchored else "(?:.*/)?") + "".join(_pieces(text.lstrip("/")))


_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]]*\]|\\.|.", re.DOTALL)
_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _pieces(text: str) -> Iterable[str]:
    for piece in _PIECE.findall(text):
        if piece in _WILD:
            yield _WILD[piece]
        elif piece.startswith("[") and len(piece) > 2:
            yield _one_of(piece[1:-1])
        elif piece.startswith("\\") and len(piece) == 2:
            yield re.escape(piece[1])
        else:
            yield re.escape(piece)


def _one_of(members: str) -> str:
    negated = members[0] in "!^"
    inside = re.sub(r"([\\\[\]&~|^])", r"\\\1", members[negated:])
    regex = f"(?!/)[{'^' if negated else ''}{inside}]"
    try:
        re.compile(regex)
    except re.error:  # a range that ends before it begins
        return "(?!)"
    return regex
