"""The verb render: the prompt a model's template makes of messages, with nothing generated."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import msgspec

from powerd.ctl import words
from powerd.ctl.client import Client, understood
from powerd.ctl.exits import DONE, Failed
from powerd.ctl.terminal import Terminal

MAX_MESSAGES = 16 << 20  # bytes of a file of messages
_ORIGINS = {
    "owner": "its owner's",
    "layer": "its manifest's",
    "model": "the GGUF's own",
    "named": "built in",
    "generic": "the generic one",
}


def render(arguments: Namespace, terminal: Terminal) -> int:
    """Print the prompt, and beside it whose template made it."""
    request = {**_request(arguments.file), "model": arguments.model, "_debug_render_only": True}
    raw = Client(arguments.socket).fetch("POST", "/api/chat", request)
    if arguments.json:
        terminal.json(raw)
        return DONE
    told = understood(raw, dict[str, Any]).get("_debug_info") or {}
    terminal.text(str(told.get("rendered_template", "")))
    if terminal.tty:  # elsewhere not a byte more than the prompt
        terminal.line()
    template = told.get("template") or {}
    origin = _ORIGINS.get(str(template.get("origin")), "unknown")
    named = f" {words.plain(str(template['name']))}" if template.get("name") else ""
    terminal.note(f"template: {origin}{named} ({words.plain(str(template.get('syntax', '')))})")
    return DONE


def _request(file: str) -> dict[str, Any]:
    """The body of /api/chat that the file holds, or the messages alone. Raises Failed."""
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
            data = stream.read(MAX_MESSAGES + 1)
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_MESSAGES:
        raise Failed(f"{file} has more than {MAX_MESSAGES} bytes")
    try:
        read = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Failed(f"{file} is not JSON: {error}") from None
    if isinstance(read, list):
        return {"messages": read}
    if isinstance(read, dict) and isinstance(read.get("messages"), list):
        return read
    raise Failed(f'{file}: give a list of messages, or an object with "messages" as /api/chat takes it')
