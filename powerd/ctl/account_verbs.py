"""The verbs about an account at ollama.com: signin, signout."""

from __future__ import annotations

from powerd.ctl.parser import Parser
from powerd.ctl.verb import Verb


def _nothing(parser: Parser) -> None:
    """Neither takes arguments."""


ACCOUNT_VERBS: tuple[Verb, ...] = (
    Verb(
        "signin",
        "models",
        "say who is signed in at ollama.com: nobody",
        "Asks powerd for the account at ollama.com. powerd has none and needs none: it says so, and exits 1.",
        ("signin",),
        "account:signin",
        _nothing,
        ("login",),
    ),
    Verb(
        "signout",
        "models",
        "sign out of ollama.com",
        "Signs out. Nobody is signed in to begin with, which is said and is no failure.",
        ("signout",),
        "account:signout",
        _nothing,
        ("logout",),
    ),
)
