"""The verbs about an account at ollama.com, of which powerd has none: signin, signout."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from powerd.ctl.client import Client
from powerd.ctl.exits import DONE, Failed, Refused
from powerd.ctl.terminal import Terminal

_UNAUTHORIZED = 401
_FORBIDDEN = 403


def signin(arguments: Namespace, terminal: Terminal) -> int:
    """Say who is signed in, or how one would be. Raises Failed where nobody can be."""
    try:
        user = Client(arguments.socket).ask("POST", "/api/me", dict[str, Any])
    except Refused as refused:
        page = refused.document.get("signin_url")
        if refused.status == _UNAUTHORIZED and isinstance(page, str):
            terminal.line(f"You need to be signed in to Ollama to run Cloud models.\n\nOpen this page:\n    {page}")
            return DONE
        if refused.status == _FORBIDDEN:
            raise Failed(
                f"{refused.message}. powerd runs models on this machine only, and needs no account for that"
            ) from refused
        raise
    terminal.line(f"You are already signed in as user '{user.get('name', '')}'")
    return DONE


def signout(arguments: Namespace, terminal: Terminal) -> int:
    """Sign out; to be signed in nowhere is no failure."""
    try:
        Client(arguments.socket).fetch("POST", "/api/signout")
    except Refused as refused:
        if refused.status != _UNAUTHORIZED:
            raise
        terminal.line("You are not signed in to ollama.com")
        return DONE
    terminal.line("You have signed out of ollama.com")
    return DONE
