"""The verb manual: powerctl's manual page, made of the help of its verbs."""

from __future__ import annotations

import argparse
from argparse import Namespace

from powerd import __version__
from powerd.ctl.exits import DONE
from powerd.ctl.terminal import Terminal
from powerd.ctl.verb import GROUPS, Verb
from powerd.ctl.verbs import VERBS

_TITLES = {"state": "State", "models": "Models", "store": "Store", "shell": "Shell"}
_CODES = (
    ("0", "Done."),
    ("1", "Failed; for status: something is not as declared."),
    ("2", "For plan, diff and update --check: there are changes."),
    ("64", "Wrong usage."),
    ("69", "The daemon is not reachable."),
    ("130", "Interrupted with Ctrl-C."),
    ("141", "The reader of the output went away."),
)
_VARIABLES = (
    ("POWER_SOCKET", "The daemon's control socket."),
    ("POWER_STATE", "Its state directory, in which the socket is looked for."),
    ("NO_COLOR", "Print without colours."),
    ("OLLAMA_NOHISTORY", "Keep no history of conversations."),
    ("OLLAMA_EDITOR, VISUAL, EDITOR", "The editor of Ctrl-G in conversations."),
    ("OLLAMA_HOST", "Called as ollama: the server to ask."),
)
_FILES = (
    ("/run/power/control.sock", "The control socket of the service."),
    ("~/.local/state/power/history", "What was typed in conversations."),
)
_AS_OLLAMA = (
    "Called by a link of the name ollama, powerctl is Ollama's command: it speaks HTTP to OLLAMA_HOST, with the verbs, "
    "flags, tables, texts and exit codes of that."
)


def manual(arguments: Namespace, terminal: Terminal) -> int:
    """Print the page."""
    terminal.line(page())
    return DONE


def page() -> str:
    """The page in man's language."""
    lines = [f'.TH POWERCTL 1 "" "powerd {__version__}" "powerd"']
    lines += [".SH NAME", r"powerctl \- ask the powerd on this machine"]
    lines += [".SH SYNOPSIS", r".B powerctl", r"[\-\-socket PATH] VERB ..."]
    lines += [".SH DESCRIPTION", _text("Asks powerd over its control socket, and prints the answer.")]
    for group in GROUPS:
        lines.append(f".SH {_TITLES[group].upper()}")
        for verb in VERBS:
            lines += _verb(verb) if verb.group == group else []
    lines += [".SH CALLED AS OLLAMA", _text(_AS_OLLAMA)]
    for title, rows in (("EXIT STATUS", _CODES), ("ENVIRONMENT", _VARIABLES), ("FILES", _FILES)):
        lines.append(f".SH {title}")
        lines += [line for name, what in rows for line in _item(name, what)]
    return "\n".join(lines)


def _verb(verb: Verb) -> list[str]:
    words = [str(action.metavar) for action in verb.actions() if not action.option_strings]
    also = f" (also: {', '.join(verb.aliases)})" if verb.aliases else ""
    lines = [f'.SS "{_text(" ".join(["powerctl", verb.name, *words]))}"', _text(verb.detail + also)]
    for action in verb.actions():
        if action.option_strings and action.dest not in {"help", "socket"}:
            lines += _item(_flag(action), str(action.help))
    examples = [f"powerctl {example}" for example in verb.examples]
    return [*lines, ".PP", ".EX", *map(_text, examples), ".EE"]


def _flag(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(action.option_strings) + value


def _item(name: str, what: str) -> list[str]:
    return [".TP", f".B {_text(name)}", _text(what)]


def _text(text: str) -> str:
    """Text that man takes for text: no escapes, no requests at the beginning of a line."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq").replace("…", "...").replace("→", "to")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
