"""powerctl called as `ollama`: its command line, read as Ollama's command reads it (contract section 13)."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

from powerd.ctl import flags
from powerd.ctl.client import Client, understood
from powerd.ctl.exits import Failed
from powerd.ctl.ollama_verbs import ROOT_FLAGS, VERBS, find, help_text
from powerd.ctl.terminal import Terminal
from powerd.hosts import Host, reachable
from powerd.hosts import parse as parse_host

SPEAKS = "0.33.0"  # the Ollama whose command this is


def parse(argv: Sequence[str], terminal: Terminal) -> tuple[str, Namespace] | None:
    """The handler and its arguments; None where help or the version was all. Raises Failed in cobra's words."""
    server = _asked(os.environ.get("OLLAMA_HOST", ""))
    try:
        name = next((word for word in argv if not word.startswith("-")), None)
        before = list(argv[: argv.index(name)]) if name is not None else list(argv)
        given, _ = flags.read(before, ROOT_FLAGS)
        if given.get("version"):
            _version(server, terminal)
        elif name is None or given.get("help"):
            terminal.line(help_text())
        elif name == "help":
            _help(argv[len(before) + 1 :], terminal)
        else:
            return _verb(name, argv[len(before) + 1 :], server, terminal)
    except flags.BadFlag as error:
        raise Failed(str(error)) from error
    return None


def _asked(text: str) -> Host:
    """The server OLLAMA_HOST names: one that listens on every interface is asked over loopback."""
    host = parse_host(text)
    return replace(host, name=reachable(host.name))


def _verb(name: str, rest: Sequence[str], server: Host, terminal: Terminal) -> tuple[str, Namespace] | None:
    verb = find(name)
    if verb is None:
        near = [each.name for each in VERBS if each.name.startswith(name)]
        meant = "\n\nDid you mean this?\n\t" + "\n\t".join(near) + "\n" if near else ""
        raise Failed(f'unknown command "{name}" for "ollama"{meant}')
    values, words = flags.read(rest, verb.every_flag)
    if values.pop("help", False):
        terminal.line(verb.help())
        return None
    if wrong := verb.wrong_count(len(words)):
        raise Failed(wrong)
    return verb.handler, Namespace(socket=server, words=words, flags=values)


def _help(names: Sequence[str], terminal: Terminal) -> None:
    verb = find(names[0]) if names else None
    if names and verb is None:
        terminal.note(f"Unknown help topic [{' '.join(f'`{name}`' for name in names)}]")
    terminal.line(verb.help() if verb else help_text())


def _version(server: Host, terminal: Terminal) -> None:
    try:
        raw = Client(server).fetch("GET", "/api/version")
        version = understood(raw, dict[str, str]).get("version", "")
    except Failed:
        version = ""
        terminal.line("Warning: could not connect to a running Ollama instance")
    if version:
        terminal.line(f"ollama version is {version}")
    if version != SPEAKS:
        terminal.line(f"Warning: client version is {SPEAKS}")
