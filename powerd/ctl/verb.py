"""Verb: one verb of powerctl, its flags, its help and where it is carried out."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from powerd.ctl.parser import HELP_WIDTH, Parser

#: In the order help prints them.
GROUPS = ("state", "models", "store", "shell")


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: `handler` is `module:function` below powerd.ctl, imported when the verb is used."""

    name: str
    group: Literal["state", "models", "store", "shell"]
    summary: str
    detail: str
    examples: tuple[str, ...]
    handler: str
    declare: Callable[[Parser], None]
    aliases: tuple[str, ...] = ()
    bare: Mapping[str, str] = field(default_factory=dict)  # flags whose value may be left out, and what it is then

    def parser(self) -> Parser:
        """A fresh parser of this verb's arguments."""
        examples = "\n".join(f"  powerctl {example}" for example in self.examples)
        description = textwrap.fill(self.detail, HELP_WIDTH)
        parser = Parser(f"powerctl {self.name}", description=description, epilog=f"examples:\n{examples}")
        parser.add_argument("--socket", metavar="PATH", default=argparse.SUPPRESS, help="the daemon's control socket")
        self.declare(parser)
        return parser

    def actions(self) -> list[argparse.Action]:
        """Its arguments and flags, as argparse has them."""
        return list(self.parser()._actions)  # argparse has no public list of them

    def whole(self, argv: Sequence[str]) -> list[str]:
        """The arguments with the value written out for every flag that was given without."""
        end = argv.index("--") if "--" in argv else len(argv)
        return [f"{word}={self.bare[word]}" if word in self.bare else word for word in argv[:end]] + list(argv[end:])


def takes_json(parser: Parser, what: str) -> None:
    """Declare `--json`, which prints `what`."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")
