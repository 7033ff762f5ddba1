"""argv read into a verb and its arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from powerd import __version__
from powerd.ctl.exits import DONE, USAGE
from powerd.ctl.parser import Parser
from powerd.ctl.verb import GROUPS, Verb
from powerd.ctl.verbs import VERBS, find


def parse(argv: Sequence[str]) -> tuple[Verb, argparse.Namespace]:
    """Read the command line. Help, version and wrong usage end the process by SystemExit (0, 0, 64)."""
    top = _top_parser()
    first = top.parse_args(argv)
    if first.verb == "help":
        _print_help(top, first.rest)
    if first.verb is None:
        top.exit(USAGE, top.format_help())
    verb, rest = _verb(top, first.verb, first.rest)
    arguments = verb.parser().parse_intermixed_args(verb.whole(rest), argparse.Namespace(socket=first.socket))
    return verb, arguments


def _verb(top: Parser, name: str, rest: Sequence[str]) -> tuple[Verb, Sequence[str]]:
    """The verb and what follows it; `store VERB` is a longer way to write a verb of that group."""
    verb = find(name)
    if name == "store" and rest:
        verb, rest = find(rest[0]), rest[1:]
        verb = verb if verb is not None and verb.group == "store" else None
    if verb is None and name == "store":
        verbs = ", ".join(each.name for each in VERBS if each.group == "store")
        top.error(f"`powerctl store` goes before one of {verbs}")
    if verb is None:
        top.error(f'"{name}" is not a verb of powerctl; `powerctl help` lists them')
    return verb, rest


def _top_parser() -> Parser:
    groups = "\n\n".join(
        f"{group}:\n" + "\n".join(f"  {verb.name:<12}{verb.summary}" for verb in VERBS if verb.group == group)
        for group in GROUPS
    )
    parser = Parser(
        "powerctl",
        usage="powerctl [--socket PATH] VERB ...",
        description="Asks the powerd on this machine.",
        epilog=f"{groups}\n\n`powerctl help VERB` explains one verb, with examples.",
    )
    parser.add_argument("--socket", metavar="PATH", help="the daemon's control socket (also POWER_SOCKET)")
    parser.add_argument("--version", action="version", version=f"powerctl {__version__}")
    parser.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _print_help(top: Parser, names: Sequence[str]) -> NoReturn:
    if not names:
        top.print_help()
        top.exit(DONE)
    names = names[1:] if names[0] == "store" and len(names) > 1 else names
    verb = find(names[0])
    if verb is None or len(names) > 1:
        top.error(f'there is no help on "{" ".join(names)}"; `powerctl help` lists the verbs')
    verb.parser().print_help()
    top.exit(DONE)
