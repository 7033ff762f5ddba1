"""The verbs about the shell powerctl is used in: completion, manual."""

from __future__ import annotations

from powerd.ctl.parser import Parser
from powerd.ctl.verb import Verb


def _completion(parser: Parser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")


def _manual(parser: Parser) -> None:
    """It takes no arguments."""


SHELL_VERBS: tuple[Verb, ...] = (
    Verb(
        "completion",
        "shell",
        "a script that completes verbs, flags and model names",
        "Prints the script for a shell. `make install` puts it where the shell looks.",
        ("completion bash", "completion zsh", "completion fish"),
        "completion:completion",
        _completion,
    ),
    Verb(
        "manual",
        "shell",
        "the manual page",
        "Prints the manual page, which `make install` installs, in the language of man.",
        ("manual",),
        "manual:manual",
        _manual,
    ),
)
