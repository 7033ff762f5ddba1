"""A conversation at the terminal: the loop that goes on until Ctrl-D."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from powerd.ctl import history, pictures
from powerd.ctl.client import Client
from powerd.ctl.conversation import Session
from powerd.ctl.exits import DONE, Failed
from powerd.ctl.keyboard import Keyboard
from powerd.ctl.question import Question
from powerd.ctl.slash import Left, obey
from powerd.ctl.terminal import Terminal
from powerd.hosts import Host


def converse(
    client: Client, asked: Question, shown: Mapping[str, Any], arguments: Namespace, terminal: Terminal
) -> int:
    """Talk until the person leaves."""
    if asked.template is not None:
        raise Failed("--template goes with a prompt; a conversation uses the template of its model")
    past = history.History(_history(arguments.socket))
    session = Session(client, terminal, Keyboard(past), replace(asked, system=None), shown)
    session.wrap, session.verbose = not arguments.nowordwrap, arguments.verbose
    session.hide_thinking = arguments.hidethinking
    if asked.system is not None:
        session.direct(asked.system)
    session.load()
    terminal.line(terminal.style.paint("Send a message (/? for help)", "dim"))
    try:
        while True:
            _turn(session)
    except Left:
        return DONE


def _turn(session: Session) -> None:
    """One message or command. Raises Left."""
    terminal = session.terminal
    try:
        terminal.flush()
        line = session.keyboard.message()
        if line.startswith("/") and not _is_file(line):
            obey(session, line)
        elif line.strip():
            session.say(line)
    except EOFError:
        terminal.line()
        raise Left from None
    except KeyboardInterrupt:
        terminal.line("\nUse Ctrl + d or /bye to exit.")
    except Failed as failure:  # what went wrong with one message ends no conversation
        terminal.error(failure.message)


def _is_file(line: str) -> bool:
    """Whether a line begins with the path of a picture and not with a command."""
    return any(line.startswith(written) for written, _ in pictures.named(line))


def _history(place: str | Host | None) -> Path | None:
    """The file of the history; the `ollama` command has Ollama's. None: none is wanted."""
    if os.environ.get("OLLAMA_NOHISTORY", "").strip(" \"'").lower() not in {"", "0", "f", "false"}:
        return None
    if isinstance(place, Host):
        return Path(os.environ.get("HOME", "/")) / ".ollama/history"
    return history.place(os.environ)
