"""Which root somebody means by what they typed. Pure.

A name of one's own comes before one that others share, so that nobody can give a word of mine
another meaning by sharing something with me.
"""

from collections.abc import Sequence

from venti_store.names.errors import AmbiguousName, NoSuchName
from venti_store.names.view import Named, by_time
from venti_store.names.words import (
    SECOND_US,
    Reference,
    format_time,
    split_full,
    split_prefix,
)


def joined(own: Sequence[Named], signed: Sequence[Named]) -> list[Named]:
    """Return the names of somebody's own file and of a log: those that went from one to the other once.

    They are known by owner, word, root and second.
    """
    taken = {(n.owner, n.name, n.score, n.time // SECOND_US) for n in signed}
    left = [n for n in own if (n.owner, n.name, n.score, n.time // SECOND_US) not in taken]
    return [*left, *signed]


def history(names: Sequence[Named], user: str) -> list[Named]:
    """Return what one word has meant for `user`, newest first: their own, else what is shared."""
    own = [named for named in names if named.owner == user]
    return sorted(own or [n for n in names if n.is_for(user)], key=by_time, reverse=True)


def choose(reference: Reference, names: Sequence[Named], user: str) -> Named:
    """Return the name that `reference` means for `user` among all of its word, `words_of(reference)`.

    NoSuchName if there is none that they may see; AmbiguousName for the beginning of several.
    """
    seen = history([n for n in names if n.name == reference.name], user)
    if seen:
        return _of_history(reference, seen)
    prefix = split_prefix(reference.name)
    if prefix is not None:
        word, digits = prefix
        fitting = [
            n for n in names if n.name == word and n.nonce.startswith(digits) and n.is_for(user)
        ]
        if len(fitting) > 1:
            listed = ", ".join(named.full for named in fitting[:8])
            raise AmbiguousName(f"{reference.text}: ambiguous: {listed}")
        if fitting:
            return _of_history(reference, fitting)
    raise NoSuchName(f"{reference.text}: {_why_not(names, user)}")


def words_of(reference: Reference) -> tuple[str, ...]:
    """Return the words under which names must be known to choose: itself, or with a nonce cut off."""
    full = split_full(reference.name)
    if full is not None:
        return (full[0],)
    prefix = split_prefix(reference.name)
    return (reference.name, prefix[0]) if prefix is not None else (reference.name,)


def _of_history(reference: Reference, seen: list[Named]) -> Named:
    if reference.until is not None:
        old = [named for named in seen if named.time <= reference.until]
        if not old:
            first = format_time(seen[-1].time)
            raise NoSuchName(f"{reference.text}: the first record of this name is of {first}")
        return old[0]
    if reference.back >= len(seen):
        count = len(seen)
        raise NoSuchName(f"{reference.text}: {reference.name} has only {count} in its history")
    return seen[reference.back]


def _why_not(names: Sequence[Named], user: str) -> str:
    owners = sorted({named.owner for named in names})
    if not owners:
        return "no such name"
    return f"not shared with {user}: it is {' and '.join(owners[:3])}'s"
