"""What roots are called on this machine: one lookup over the names in the store's log and one's own file.

A new name goes into the log of the store that has the root, signed, if that is on this machine and its
user has a key; so other nodes get it. Else it goes into the user's own file. To look a name up both are
read as one history. What opening a store and keys needs is imported only when it is needed.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from lib9.waiting import run_now
from venti_store.errors import BadScore, StoreMissing
from venti_store.names import lookup, trusted
from venti_store.names.errors import AmbiguousName, BadName, NoSuchName
from venti_store.names.folder import DiskFolder
from venti_store.names.local import LocalNames, names_file
from venti_store.names.page import SCORENAMES, Page, head_of
from venti_store.names.view import Named, by_time
from venti_store.names.words import check_user, parse_reference, split_prefix
from venti_store.open import is_local
from venti_store.score import Score, parse_score

if TYPE_CHECKING:
    from venti_store.names.book import Book
    from venti_store.stores.lmdb.store import LmdbStore

T = TypeVar("T")
PREFIX_DIGITS_MIN: Final = 6  # of a score that is abbreviated
_DIGITS = re.compile(rf"(?:vac:)?([0-9a-fA-F]{{{PREFIX_DIGITS_MIN},}})", re.ASCII)


def this_user() -> str:
    """Return what the user who runs this is called in records."""
    try:
        return check_user(pwd.getpwuid(os.geteuid()).pw_name)
    except (KeyError, BadName):
        return f"uid{os.geteuid()}"


class NamesHere:
    """The names that count with the store at one address for who runs this, or for `user` of the grid.

    Users of the grid have no file of their own here, and see what they may, whatever they are called.
    """

    def __init__(self, environ: Mapping[str, str], address: str, user: str | None = None) -> None:
        self.user = user or this_user()
        self._reads_all = user is None  # who owns the store may
        file = names_file(environ) if self._reads_all else os.devnull
        self.local = LocalNames(file, self.user)
        self._nodes: dict[bytes, str] | None = None
        self.store = os.path.abspath(address) if is_local(address) else None

    def node(self, origin: bytes) -> str:
        """Return the name of the node that signs with a key, or the key."""
        from lib9.keys import format_key
        from venti_store import known

        if self._nodes is None:
            self._nodes = {peer.public: peer.name for peer in known.peers() if not peer.user}
            if trusted.has_key():
                self._nodes.setdefault(known.identity().public, "here")
        return self._nodes.get(origin) or format_key(origin)

    def resolve(self, text: str) -> Score:
        """Return the score that `text` means: a score, a name of any form, or a score's first digits.

        NoSuchName when nothing fits, AmbiguousName when several do, BadScore for what begins like a
        score and is none. Raises as opening the store does, but for a store that is not there.
        """
        try:
            return parse_score(text)
        except BadScore:
            if text.startswith("vac:") and not _DIGITS.fullmatch(text):
                raise
        try:
            return self.find(text).score
        except (NoSuchName, BadName):
            if digits := _DIGITS.fullmatch(text):
                return self._abbreviated(text, digits[1].lower())
            raise

    def find(self, text: str) -> Named:
        """Return the name that NAME, NAME~N, NAME@DATE, NAME.NONCE or the beginning of one means."""
        reference = parse_reference(text)
        page = self._page()
        words = lookup.words_of(reference)
        names = [
            n for word in words for n in lookup.joined(self.local.names(word), page.names(word))
        ]
        try:
            return lookup.choose(reference, names, self.user)
        except NoSuchName as error:
            # the beginning of a full name cannot be mistaken for another's word
            prefix = split_prefix(reference.name)
            fitting = [n for n in names if prefix and n.full.startswith(reference.name)]
            if self._reads_all and len(fitting) == 1:
                return fitting[0]
            if not names:
                raise NoSuchName(f"{text}: no such name, and not a score") from error
            raise

    def history(self, name: str) -> list[Named]:
        """Return everything `name` has meant for this user, newest first; empty for an unknown name."""
        names = lookup.joined(self.local.names(name), self._page().names(name))
        return lookup.history(names, self.user)

    def newest(self, name: str) -> Named | None:
        """Return what `name` means now."""
        history = self.history(name)
        return history[0] if history else None

    def all(self) -> list[Named]:
        """Return every name in the store's log and in this user's file, by time."""
        return sorted(lookup.joined(self.local.names(), self._page().names()), key=by_time)

    def record(
        self,
        name: str,
        score: Score,
        now_us: int,
        *,
        whole: Iterable[Score] = (),
        comment: str = "",
    ) -> Named:
        """Let `name` mean a root that was saved in the store; on stable storage when this returns.

        `whole` as NameBook.record has it. Raises RootIncomplete, BadName, BadKey, and as stores do.
        """
        if self.store is None or not trusted.has_key():
            return self.local.record(name, score, now_us)
        return with_book(
            self.store,
            lambda book: run_now(
                book.record(
                    name, score, user=self.user, comment=comment, whole=whole, now_us=now_us
                )
            ),
        )

    def _page(self) -> Page:
        """Return the scorenames of the store, brought up to its log if it is behind."""
        from venti_store.stores.lmdb.peek import last_name

        if self.store is None:
            return Page.empty("")
        try:
            store_id, number = last_name(self.store)
        except StoreMissing:
            return Page.empty("")
        data = DiskFolder(self.store).read(SCORENAMES)
        page = Page(data.decode(errors="surrogateescape"), head_of(store_id, trusted.stamp()))
        if page.number == number and (page.is_sound() or not (number or data)):
            return page
        return with_book(self.store, refreshed)

    def _abbreviated(self, text: str, digits: str) -> Score:
        fitting = {n.score: n.name for n in self.all() if n.score.hex().startswith(digits)}
        if not fitting:
            raise NoSuchName(f"{text}: no name, and no known score begins so")
        if len(fitting) > 1:
            listed = ", ".join(f"{s.hex()[: len(digits) + 6]}… ({n})" for s, n in fitting.items())
            raise AmbiguousName(f"{text}: ambiguous: {listed}")
        return next(iter(fitting))


def refreshed(book: Book) -> Page:
    """Return the page of a book after it was brought up to the log."""
    run_now(book.refresh())
    return book.page()


def with_book(path: str, function: Callable[[Book], T]) -> T:
    """Return `function(book)` of the store at `path`, which is opened and closed."""
    from venti_store.names.opened import open_book
    from venti_store.stores.lmdb.store import LmdbStore

    store: LmdbStore = LmdbStore(path)
    try:
        return function(open_book(store, path))
    finally:
        run_now(store.aclose())
