"""The verbs about models that answer at once: list, ps, show, load, stop, rm, cp."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from powerd.control.schema import Done, ModelRequest, RunnerRow
from powerd.ctl import words
from powerd.ctl.card import card
from powerd.ctl.client import PATIENCE_SECONDS, Client, understood
from powerd.ctl.exits import DONE, FAILED, Failed, Refused
from powerd.ctl.terminal import Style, Terminal, table

_NOT_FOUND = 404
DELETE_SECONDS = 120.0
_STOPPING = frozenset({"draining", "stopping"})


def list_models(arguments: Namespace, terminal: Terminal) -> int:
    """Print the models that can be served."""
    models = _models(Client(arguments.socket), arguments.prefix)
    if arguments.json:
        terminal.json(msgspec.json.encode(models))
    else:
        terminal.lines(_table(models, terminal.style))
    return DONE


def listed(client: Client, prefix: str | None, style: Style) -> list[str]:
    """The table of the models that can be served."""
    return _table(_models(client, prefix), style)


def _models(client: Client, prefix: str | None) -> list[dict[str, Any]]:
    tags = client.ask("GET", "/api/tags", dict[str, list[dict[str, Any]]])
    return [model for model in tags.get("models", []) if begins(str(model.get("name", "")), prefix)]


def _table(models: Sequence[Mapping[str, Any]], style: Style) -> list[str]:
    now = time.time()
    return table([["NAME", "ID", "SIZE", "MODIFIED"], *(_listed(each, now) for each in models)], style)


def _listed(model: Mapping[str, Any], now: float) -> list[str]:
    size = model.get("size")
    try:
        modified = words.ago(words.moment(str(model.get("modified_at", ""))), now)
    except ValueError:
        modified = "-"
    return [
        words.plain(str(model.get("name", ""))),
        short_id(str(model.get("digest", ""))),
        words.size(size) if isinstance(size, int) else "-",
        modified,
    ]


def ps(arguments: Namespace, terminal: Terminal) -> int:
    """Print the models in memory."""
    client = Client(arguments.socket)
    raw = client.ask("GET", "/v1/ps", list[msgspec.Raw])
    rows = [(each, understood(bytes(each), RunnerRow)) for each in raw]
    rows = [
        (each, row) for each, row in rows if any(begins(name, arguments.prefix) for name in (row.model, *row.names))
    ]
    if arguments.json:
        terminal.json(msgspec.json.encode([each for each, _ in rows]))
    else:
        terminal.lines(table(_running([row for _, row in rows], time.time()), terminal.style))
    return DONE


def _running(rows: Sequence[RunnerRow], now: float) -> list[list[str]]:
    """Ollama's columns first; the last, for runners that several names share, only where there is one."""
    header = ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL", "PID", "REQUESTS"]
    cells = [_runner(row, now) for row in rows]
    also = [", ".join(name for name in row.names if name != row.model) for row in rows]
    if any(also):
        header.append("ALSO SERVES")
        cells = [[*row, words.plain(names)] for row, names in zip(cells, also, strict=True)]
    return [header, *cells]


def _runner(row: RunnerRow, now: float) -> list[str]:
    return [
        words.plain(row.model),
        short_id(row.digest),
        words.size(row.size),
        words.processor(row.size, row.size_vram),
        str(row.context),
        _until(row, now),
        str(row.pid),
        f"{row.requests} ({row.queued} waiting)" if row.queued else str(row.requests),
    ]


def _until(row: RunnerRow, now: float) -> str:
    if row.state == "loading":
        return f"Loading {row.progress * 100:.0f}%"
    if row.state in _STOPPING or (row.expires_at is not None and row.expires_at <= now):
        return "Stopping..."
    return "Forever" if row.expires_at is None else words.ago(row.expires_at, now)


def begins(name: str, prefix: str | None) -> bool:
    """Whether a model's name begins with the prefix, in either case."""
    return name.lower().startswith((prefix or "").lower())


def short_id(digest: str) -> str:
    """The first digits of a digest, as tables show it."""
    return words.plain(digest.removeprefix("sha256:")[:12]) or "-"


def show(arguments: Namespace, terminal: Terminal) -> int:
    """Print what a model is, or one text of it."""
    request = {"model": arguments.model, "verbose": arguments.verbose}
    raw = Client(arguments.socket).fetch("POST", "/api/show", request)
    shown = understood(raw, dict[str, Any])
    if arguments.json:
        terminal.json(raw)
    elif arguments.part:
        text = shown.get(arguments.part) or ""
        terminal.text(text if text.endswith("\n") else text + "\n")
    else:
        terminal.lines(card(shown, terminal.style, arguments.verbose))
    return DONE


def load(arguments: Namespace, terminal: Terminal) -> int:
    """Bring a model into memory, and keep it there as `--for` says."""
    request = ModelRequest(arguments.model, hold=arguments.hold)
    done = Client(arguments.socket).ask("POST", "/v1/load", Done, request, PATIENCE_SECONDS)
    terminal.line(words.plain(done.message))
    return DONE


def stop(arguments: Namespace, terminal: Terminal) -> int:
    """Unload a model."""
    request = ModelRequest(arguments.model, hold=arguments.hold, force=arguments.force)
    try:
        done = Client(arguments.socket).ask("POST", "/v1/stop", Done, request, PATIENCE_SECONDS)
    except Refused as error:
        if error.status == _NOT_FOUND:
            raise Failed(f'couldn\'t find model "{arguments.model}" to stop') from error
        raise
    terminal.line(words.plain(done.message))
    return DONE


def rm(arguments: Namespace, terminal: Terminal) -> int:
    """Delete models; one that fails does not keep the others."""
    client = Client(arguments.socket)
    outcome = DONE
    for model in arguments.models:
        try:
            client.fetch("DELETE", "/api/delete", {"model": model}, DELETE_SECONDS)
        except Refused as error:
            terminal.error(error.message)
            outcome = FAILED
        else:
            terminal.line(f"deleted '{model}'")
    return outcome


def cp(arguments: Namespace, terminal: Terminal) -> int:
    """Give a model a second name."""
    client = Client(arguments.socket)
    client.fetch("POST", "/api/copy", {"source": arguments.source, "destination": arguments.destination})
    terminal.line(f"copied '{arguments.source}' to '{arguments.destination}'")
    return DONE
