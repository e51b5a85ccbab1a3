"""`grid names`: what roots are called, whose the names are, and why somebody sees one or not."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lib9.cli import Parser, print_json
from lib9.errors import Exit
from lib9.telling import printable

if TYPE_CHECKING:
    from venti_store.names.book import Book
    from venti_store.names.here import NamesHere
    from venti_store.names.view import Named

T = TypeVar("T")
NAME_HELP = "NAME, NAME~1 (the one before), NAME@DATE, NAME.NONCE or the beginning of one"
USER_HELP = "as this user of the grid (default: who runs this)"
CONFIG_HELP = (
    "the names of the node that this ndb file describes (default: with -u and without a store, "
    "$XDG_CONFIG_HOME/spawngrid/node.ndb if it is there)"
)


def add(words: argparse._SubParsersAction[Parser]) -> None:
    p = words.add_parser(
        "names",
        help="what roots are called, and whose the names are",
        description="What roots are called: names in the log of a store on this machine, which other\n"
        "nodes get too, and those of one's own file.",
    )
    what = p.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    ls = _add(what, "ls", show_all, "List names: full name, time, owner, and who signed.")
    ls.add_argument("part", metavar="SUBSTR", nargs="?", default="", help="only names with this")
    ls.add_argument("-a", "--all", action="store_true", help="those of all users")
    show = _add(what, "show", show_one, "Print all that is known of one name.")
    log = _add(what, "log", show_history, "List what a name has meant, newest first.")
    why = _add(what, "why", show_why, "Say why a name is visible to a user, or why not.")
    make = _add(what, "record", record, "Name a root that this store has, and print the full name.")
    make.add_argument("name", metavar="NAME", help="what it is to be called")
    make.add_argument("score", metavar="SCORE", help="the root, or another name of it")
    make.add_argument("--parent", metavar="NAME", help="the name that it came from")
    forget = _add(what, "forget", forget_one, "Take a name away, on all nodes and for good.")
    for p in (make, forget):
        p.add_argument("-m", "--comment", metavar="TEXT", default="", help="why, for people")
    share = _add(what, "share", share_one, "Let another user see a name.")
    unshare = _add(what, "unshare", unshare_one, "No longer let another user see a name.")
    for p in (show, log, why, forget, share, unshare):
        p.add_argument("name", metavar="NAME", help=NAME_HELP)
    for p in (share, unshare):
        p.add_argument("to", metavar="USER", help="the other user; '*': everybody")
    take = _add(
        what,
        "import",
        import_file,
        "Take names from lines `scorename=… rootscore=… user=…`, as the original kept them or as\n"
        "export prints them. Plain ones are signed by this node.",
    )
    take.add_argument("file", metavar="FILE", help="an ndb file; -: standard input")
    give = _add(what, "export", export, "Print names as lines that import takes.")
    give.add_argument("-a", "--all", action="store_true", help="those of all users")
    give.add_argument(
        "--signed",
        action="store_true",
        help="every record of the log, as it is, with its signature",
    )


def _add(
    what: argparse._SubParsersAction[Parser],
    word: str,
    run: Callable[[argparse.Namespace], int | None],
    text: str,
) -> Parser:
    from venti_store.cli.address import add_store_option

    p = what.add_parser(
        word, help=text.partition(".")[0].partition(":")[0].lower(), description=text
    )
    p.add_argument("-u", "--user", metavar="USER", help=USER_HELP)
    p.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    if word in ("ls", "show", "log", "why", "import"):
        p.add_argument("--json", action="store_true", help="one object a line")
    add_store_option(p)
    p.set_defaults(run=run)
    return p


def show_all(args: argparse.Namespace) -> None:
    here = _here(args)
    for named in here.all():
        if args.part in named.name and (args.all or named.is_for(here.user)):
            _print_line(args, here, named)


def show_one(args: argparse.Namespace) -> None:
    from venti_store.names.words import format_time
    from venti_store.score import format_score

    here = _here(args)
    named = here.find(args.name)
    if args.json:
        _print_line(args, here, named)
        return
    facts = {
        "scorename": named.full,
        "rootscore": format_score(named.score),
        "owner": named.owner,
        "shared with": ", ".join(sorted(named.shared)),
        "time": format_time(named.time),
        "signed by": _signer(here, named) + (f", its record {named.seq}" if named.seq else ""),
        "came from": named.parent,
        "comment": named.comment,
    }
    for name, value in facts.items():
        if value:
            sys.stdout.write(f"{name + ':':12} {printable(value)}\n")


def show_history(args: argparse.Namespace) -> None:
    from venti_store.names.words import parse_reference

    here = _here(args)
    here.find(args.name)
    for named in here.history(parse_reference(args.name).name):
        _print_line(args, here, named, score=True)


def show_why(args: argparse.Namespace) -> int:
    from lib9.waiting import run_now
    from venti_store.names.explain import Explainer, Standing
    from venti_store.names.words import parse_reference

    here = _here(args)
    reference = parse_reference(args.name)
    if reference.back or reference.until is not None:
        reference = parse_reference(here.find(args.name).full)

    def explain(book: Book) -> Explainer:
        run_now(book.refresh())
        return Explainer(book.page(), book.waiting(), book.origins())

    reasons = _with_book(args, explain).explain(reference, here.user)
    local = here.local.names(reference.name)
    for reason in reasons if not (local and reasons[0].standing is Standing.UNKNOWN) else []:
        if args.json:
            print_json({"scorename": reason.full, "is": reason.standing, "why": reason.why})
        else:
            sys.stdout.write(f"{reason.full}: {reason.standing}: {printable(reason.why)}\n")
    for named in local:
        why = f"in {here.local.file}, on this machine only"
        if args.json:
            print_json({"scorename": named.full, "is": Standing.VISIBLE, "why": why})
        else:
            sys.stdout.write(f"{named.full}: {Standing.VISIBLE}: {why}\n")
    seen = local or any(reason.standing is Standing.VISIBLE for reason in reasons)
    return Exit.OK if seen else Exit.NOT_FOUND


def record(args: argparse.Namespace) -> None:
    from lib9.waiting import run_now

    here = _here(args)
    score = here.resolve(args.score)
    parent = here.find(args.parent).full if args.parent else ""

    def make(book: Book) -> Named:
        return run_now(
            book.record(
                args.name,
                score,
                user=here.user,
                parent=parent,
                comment=args.comment,
                now_us=_now(),
            )
        )

    sys.stdout.write(f"{_with_book(args, make).full}\n")


def forget_one(args: argparse.Namespace) -> None:
    from lib9.waiting import run_now

    here = _own(args)
    _with_book(
        args,
        lambda book: run_now(
            book.forget(args.name, user=here.user, comment=args.comment, now_us=_now())
        ),
    )


def share_one(args: argparse.Namespace) -> None:
    from lib9.waiting import run_now

    here = _own(args)
    _with_book(
        args,
        lambda book: run_now(book.share(args.name, args.to, user=here.user, now_us=_now())),
    )


def unshare_one(args: argparse.Namespace) -> None:
    from lib9.waiting import run_now

    here = _own(args)
    _with_book(
        args,
        lambda book: run_now(book.unshare(args.name, args.to, user=here.user, now_us=_now())),
    )


def import_file(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from lib9.waiting import run_now
    from venti_store.names.exchange import Imported, import_lines

    here = _here(args)
    text = _read(args.file)

    def tell(line: str) -> None:
        sys.stderr.write(f"grid: {printable(line)}\n")

    def take(book: Book) -> Imported:
        family = book.family
        now = _now()
        return run_now(import_lines(book, family, text, user=here.user, now_us=now, tell=tell))

    done = _with_book(args, take)
    if args.json:
        print_json(asdict(done))
    else:
        counts = ", ".join(f"{count} {what}" for what, count in asdict(done).items() if count)
        sys.stderr.write(f"{counts or 'nothing'}\n")
    return Exit.PARTIAL if done.failed or done.pending else Exit.OK


def export(args: argparse.Namespace) -> None:
    from venti_store.names.exchange import plain_lines

    here = _here(args)
    if args.signed:
        sys.stdout.buffer.writelines(_with_book(args, lambda book: list(book.records())))
        return
    names = (named for named in here.all() if args.all or named.is_for(here.user))
    sys.stdout.writelines(plain_lines(names))


def _here(args: argparse.Namespace) -> NamesHere:
    from venti_store.cli.address import store_address
    from venti_store.names.here import NamesHere
    from venti_store.names.words import check_user

    user = check_user(args.user) if args.user else None
    _become_node(args)
    return NamesHere(os.environ, store_address(args), user)


def _become_node(args: argparse.Namespace) -> None:
    """Take the store and the keys of the node that is meant: users of the grid are known to nodes only."""
    from spawngrid.cli.node import config_file, node_of

    named = args.store or os.environ.get("venti")  # noqa: SIM112  the name Plan 9 gave it
    if args.config or (args.user and not named and os.path.exists(config_file(args))):
        os.environ.update(node_of(args).environ(dict(os.environ)))


def _own(args: argparse.Namespace) -> NamesHere:
    """Return the names, after making sure that the one meant is in the log."""
    from lib9.errors import UsageError

    here = _here(args)
    if not here.find(args.name).nonce:
        raise UsageError(
            f"{args.name}: yours alone, in {here.local.file}: edit that, or make it a signed one"
            " (`grid key new`, `grid names import FILE`)"
        )
    return here


def _with_book(args: argparse.Namespace, function: Callable[[Book], T]) -> T:
    from venti_store.cli.address import path_of, store_address
    from venti_store.names.here import with_book

    return with_book(path_of(store_address(args)), function)


def _print_line(
    args: argparse.Namespace, here: NamesHere, named: Named, *, score: bool = False
) -> None:
    from lib9.keys import format_key
    from venti_store.names.words import format_time
    from venti_store.score import format_score

    if args.json:
        print_json(
            {
                "scorename": named.full,
                "name": named.name,
                "rootscore": format_score(named.score),
                "owner": named.owner,
                "shared": sorted(named.shared),
                "time": format_time(named.time),
                "origin": format_key(named.origin) if named.origin else None,
                "seq": named.seq or None,
                "parent": named.parent or None,
                "comment": named.comment or None,
            }
        )
        return
    moment = format_time(named.time).partition(".")[0] + "Z"
    middle = format_score(named.score) if score else named.owner
    words = [named.full, moment, middle, _signer(here, named), named.comment]
    sys.stdout.write(" ".join(filter(None, words)) + "\n")


def _signer(here: NamesHere, named: Named) -> str:
    return here.node(named.origin) if named.origin else "local"


def _read(file: str) -> str:
    from ndbdb.database import read_file, whole_lines

    data = sys.stdin.buffer.read() if file == "-" else read_file(file)
    return whole_lines(data)


def _now() -> int:
    return time.time_ns() // 1000
