"""argv read into a verb and its arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from powerd import __version__
from powerd.ctl.exits import DONE, USAGE
from powerd.ctl.parser import Parser
from powerd.ctl.verbs import VERBS, Verb, find


def parse(argv: Sequence[str]) -> tuple[Verb, argparse.Namespace]:
    """Read the command line. Help, version and wrong usage end the process by SystemExit (0, 0, 64)."""
    top = _top_parser()
    first = top.parse_args(argv)
    if first.verb == "help":
        _print_help(top, first.rest)
    if first.verb is None:
        top.exit(USAGE, top.format_help())
    verb = find(first.verb)
    if verb is None:
        top.error(f'"{first.verb}" is not a verb of powerctl; `powerctl help` lists them')
    parser = verb.parser()
    arguments = parser.parse_intermixed_args(first.rest, argparse.Namespace(socket=first.socket))
    return verb, arguments


def _top_parser() -> Parser:
    groups = "\n\n".join(
        f"{group}:\n" + "\n".join(f"  {verb.name:<10}{verb.summary}" for verb in VERBS if verb.group == group)
        for group in ("state", "models")
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
    verb = find(names[0])
    if verb is None or len(names) > 1:
        top.error(f'there is no help on "{" ".join(names)}"; `powerctl help` lists the verbs')
    verb.parser().print_help()
    top.exit(DONE)
