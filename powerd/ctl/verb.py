"""Verb: one verb of powerctl, its flags, its help and where it is carried out."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from powerd.ctl.parser import HELP_WIDTH, Parser

#: In the order help prints them.
GROUPS = ("state", "models", "store")


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: `handler` is `module:function` below powerd.ctl, imported when the verb is used."""

    name: str
    group: Literal["state", "models", "store"]
    summary: str
    detail: str
    examples: tuple[str, ...]
    handler: str
    declare: Callable[[Parser], None]
    aliases: tuple[str, ...] = ()

    def parser(self) -> Parser:
        """A fresh parser of this verb's arguments."""
        examples = "\n".join(f"  powerctl {example}" for example in self.examples)
        description = textwrap.fill(self.detail, HELP_WIDTH)
        parser = Parser(f"powerctl {self.name}", description=description, epilog=f"examples:\n{examples}")
        parser.add_argument("--socket", metavar="PATH", default=argparse.SUPPRESS, help="the daemon's control socket")
        self.declare(parser)
        return parser


def takes_json(parser: Parser, what: str) -> None:
    """Declare `--json`, which prints `what`."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")
