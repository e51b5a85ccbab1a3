"""`grid root import|export`: roots from directories, archives and Debian, and back."""

import argparse
import os
import sys
import time

from lib9.cli import Parser, print_json


def add(words: "argparse._SubParsersAction[Parser]") -> None:
    p = words.add_parser(
        "root",
        help="make roots of directories and archives, and back",
        description="Roots that environments are made of: from outside, and to outside.",
    )
    what = p.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    _add_import(what)
    _add_export(what)


def _add_import(words: "argparse._SubParsersAction[Parser]") -> None:
    from fossil_fs.cli.common import add_store_option

    p = words.add_parser(
        "import",
        help="store a directory, a tar archive or a new Debian system as a root",
        description="Store a tree with all that an environment needs in it, and print its score.\n"
        "What is missing is added, empty: /proc, /sys, /dev, /srv, /run, /etc and files that each\n"
        "spawn has its own of. A tree without /bin/sh is refused.",
    )
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "source", metavar="DIR|TAR", nargs="?", help="what to store; -: a tar archive from stdin"
    )
    source.add_argument("--debootstrap", metavar="SUITE", help="make a minimal Debian system")
    p.add_argument("--mirror", metavar="URL", default="", help="where Debian's packages come from")
    p.add_argument(
        "--include",
        metavar="PACKAGE",
        action="append",
        default=[],
        help="a package that the Debian system has besides; may be repeated",
    )
    p.add_argument("--name", metavar="NAME", help="let this name mean the score")
    p.add_argument(
        "--staging",
        metavar="DIR",
        help="where archives are unpacked (default: $XDG_STATE_HOME/spawngrid)",
    )
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_store_option(p)
    p.set_defaults(run=import_root)


def _add_export(words: "argparse._SubParsersAction[Parser]") -> None:
    from fossil_fs.cli.common import add_store_option

    p = words.add_parser(
        "export",
        help="write a root to a directory or a tar archive",
        description="Write a root to a directory, or to a tar archive: a name that ends in .tar, .tar.gz,\n"
        ".tar.zst or the like; - is a plain one on stdout.",
    )
    p.add_argument("tree", metavar="SCORE|NAME", help="the root")
    p.add_argument("target", metavar="DIR|TAR", help="where to write it")
    add_store_option(p)
    p.set_defaults(run=export_root)


def import_root(args: argparse.Namespace) -> None:

    from fossil_fs.cli.common import names_here, store_address
    from lib9.places import run_directory, state_directory
    from spawngrid.roots.importing import import_debian, import_root
    from venti_store.names.words import check_name
    from venti_store.open import is_local
    from venti_store.score import parse_score

    if args.name is not None:
        check_name(args.name)
    store = store_address(args, create=True)
    store = os.path.abspath(store) if is_local(store) else store
    staging = args.staging or os.path.join(state_directory(os.environ), "spawngrid")
    running = run_directory(os.environ)
    if args.debootstrap is not None:
        score = import_debian(
            args.debootstrap, store, running, staging, mirror=args.mirror, include=args.include
        )
    else:
        score = import_root(args.source, store, running, staging)
    if args.name is not None:
        names_here(store).record(args.name, parse_score(score), time.time_ns() // 1000)
    if args.json:
        print_json({"score": score, "name": args.name})
    else:
        sys.stdout.write(f"{score}\n")


def export_root(args: argparse.Namespace) -> None:
    from fossil_fs.cli.common import resolve, store_address
    from lib9.places import run_directory
    from spawngrid.roots.exporting import export_root
    from venti_store.open import is_local
    from venti_store.score import format_score

    store = store_address(args)
    store = os.path.abspath(store) if is_local(store) else store
    export_root(
        format_score(resolve(args.tree, store)), store, args.target, run_directory(os.environ)
    )
