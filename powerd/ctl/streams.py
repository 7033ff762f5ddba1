"""The verbs whose answer is progress: pull, push."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from powerd.control.schema import ModelRequest
from powerd.control.schema_store import DryRunReply, DryRunRequest
from powerd.ctl import words
from powerd.ctl.client import Client, objects, understood
from powerd.ctl.exits import DONE, Failed
from powerd.ctl.progress import Bars, Log
from powerd.ctl.terminal import Terminal, table

LOAD_SECONDS = 3600.0  # a load, or a look at places that answer slowly; the daemon has its own limits
_REDRAW_SECONDS = 0.1


def pull(arguments: Namespace, terminal: Terminal) -> int:
    """Fetch a model from its registry, or say what that would take."""
    client = Client(arguments.socket)
    request = {"model": arguments.model, "insecure": arguments.insecure}
    if arguments.dry_run:
        return _foretell(client, request, arguments, terminal)
    follow(client, "/api/pull", request, terminal, json=arguments.json)
    if arguments.load:
        client.fetch("POST", "/v1/load", ModelRequest(arguments.model), LOAD_SECONDS)
    return DONE


def push(arguments: Namespace, terminal: Terminal) -> int:
    """Send a model to a registry."""
    request = {"model": arguments.model, "insecure": arguments.insecure, "destination": arguments.destination}
    follow(Client(arguments.socket), "/api/push", request, terminal, json=arguments.json)
    return DONE


def follow(client: Client, path: str, request: object, terminal: Terminal, *, json: bool = False) -> None:
    """Show progress to its end. Raises Failed when it does not end well."""
    with closing(client.stream(path, request)) as lines:
        if json:
            last = _passed_on(lines, terminal)
        else:
            last = _drawn(objects(lines), terminal) if terminal.tty else _logged(objects(lines), terminal)
    if last != "success":
        raise Failed(f"powerd ended early (its last word was {last!r}); run it again to go on where it stopped")


def _foretell(client: Client, request: Mapping[str, Any], arguments: Namespace, terminal: Terminal) -> int:
    raw = client.fetch("POST", "/v1/dry-run", DryRunRequest(**request), LOAD_SECONDS)
    if arguments.json:
        terminal.json(raw)
        return DONE
    told = understood(raw, DryRunReply)
    rows = [["ROLE", "NAME", "SIZE", "STATE"]]
    rows += [
        [piece.role, piece.name, words.size(piece.size) if piece.size else "-", "here" if piece.present else "to fetch"]
        for piece in told.files
    ]
    terminal.lines(table(rows, terminal.style))
    terminal.line(f"\nfrom {told.place}; {words.size(told.missing)} of {words.size(told.total)} to fetch")
    for sentence in told.failed:
        terminal.line(f"not found before: {sentence}")
    if told.fits is None:
        terminal.line(f"whether it fits is not known: {told.unread or 'its header cannot be read in advance'}")
    else:
        verdict = "fits" if told.fits else "does not fit"
        terminal.line(f"{verdict}: needs about {words.size(told.memory)} of {words.size(told.budget)}")
    return DONE


def _passed_on(lines: Iterator[bytes], terminal: Terminal) -> str:
    """Print the progress objects as they come; returns the last status."""

    def printed() -> Iterator[bytes]:
        for line in lines:
            terminal.line(line.decode(errors="replace"))
            terminal.flush()
            yield line

    return _last(objects(printed()))


def _logged(steps: Iterator[Mapping[str, Any]], terminal: Terminal) -> str:
    log = Log()

    def told() -> Iterator[Mapping[str, Any]]:
        for step in steps:
            if (line := log.feed(step)) is not None:
                terminal.line(line)
                terminal.flush()
            yield step

    return _last(told())


def _drawn(steps: Iterator[Mapping[str, Any]], terminal: Terminal) -> str:
    bars, drawn, last = Bars(terminal.style), 0.0, ""
    try:
        for step in steps:
            now = time.monotonic()
            bars.feed(step, now)
            last = str(step.get("status", ""))
            if now - drawn >= _REDRAW_SECONDS:
                terminal.redraw(bars.lines)
                drawn = now
    finally:
        terminal.redraw(bars.lines)
    return last


def _last(steps: Iterator[Mapping[str, Any]]) -> str:
    last = ""
    for step in steps:
        last = str(step.get("status", ""))
    return last
