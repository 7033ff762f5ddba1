"""The verbs that foretell: plan and diff. With the daemon down the same is made by `powerd --plan` and `--diff`."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import msgspec

from powerd.control.schema_plan import DiffReply, PlanReply, PlanRequest
from powerd.ctl import words
from powerd.ctl.client import Client, understood
from powerd.ctl.exits import CHANGES, DONE, FAILED, Failed, Unreachable
from powerd.ctl.planned import diff_text, plan_text
from powerd.ctl.terminal import Terminal
from powerd.ctl.validate import safe_path

#: Sources are asked what they have, each for at most 20 s.
_SILENCE_SECONDS = 120.0


def plan(arguments: Namespace, terminal: Terminal) -> int:
    """Print what taking over the file would do."""
    flags = ["--plan", *([str(Path(arguments.file).absolute())] if arguments.file else [])]
    flags += ["--locked"] if arguments.locked else []
    try:
        raw = _asked(arguments)
    except Unreachable as gone:
        raw = _offline(flags, terminal, gone)
    reply = understood(raw, PlanReply)
    if arguments.json:
        terminal.json(raw)
    else:
        terminal.lines(plan_text(reply, terminal.style))
    return FAILED if reply.problems else CHANGES if reply.changes else DONE


def _asked(arguments: Namespace) -> bytes:
    client = Client(arguments.socket)
    if arguments.file is None and not arguments.locked:
        return client.fetch("GET", "/v1/plan", timeout=_SILENCE_SECONDS)
    text = None if arguments.file is None else _text(arguments.file)
    return client.fetch("POST", "/v1/plan", PlanRequest(text, arguments.locked), _SILENCE_SECONDS)


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Failed(f"{file}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}") from None


def diff(arguments: Namespace, terminal: Terminal) -> int:
    """Print the file, the accepted generation and what is, side by side."""
    try:
        raw = Client(arguments.socket).fetch("GET", "/v1/diff")
    except Unreachable as gone:
        raw = _offline(["--diff"], terminal, gone)
    reply = understood(raw, DiffReply)
    if arguments.json:
        terminal.json(raw)
    else:
        terminal.lines(diff_text(reply, terminal.style, everything=arguments.all))
    return FAILED if reply.problems else CHANGES if reply.changes else DONE


def _offline(flags: list[str], terminal: Terminal, gone: Unreachable) -> bytes:
    """Have `powerd` make it. Raises Unreachable where that cannot be had either."""
    command = [sys.executable, *safe_path(), "-m", "powerd", *flags, "--json"]
    ended = subprocess.run(command, capture_output=True, check=False, env=os.environ)
    try:
        msgspec.json.decode(ended.stdout)
    except msgspec.DecodeError:
        told = ended.stderr.decode(errors="replace").strip().removeprefix("powerd: ")
        raise Unreachable(f"{gone.message}; and without it: {words.plain(told)}") from None
    terminal.note("powerd is not running: this is what it would do from its last generation on")
    return ended.stdout
