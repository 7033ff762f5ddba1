"""The verbs about generations and their sources: history, rollback, update, lock."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from powerd.control.schema_plan import Generation, LockReply, RollbackReply, RollbackRequest, UpdateRequest, UpdateRow
from powerd.ctl import words
from powerd.ctl.client import PATIENCE_SECONDS, Client, understood
from powerd.ctl.exits import CHANGES, DONE, FAILED, Failed
from powerd.ctl.terminal import Colour, Terminal, table

_MARGIN_SECONDS = 60.0
_STATES: Mapping[str, Colour] = {"moved": "yellow", "updated": "green", "unknown": "red"}


def history(arguments: Namespace, terminal: Terminal) -> int:
    """Print the kept generations, or one of them with what it resolved to."""
    client = Client(arguments.socket)
    if arguments.generation is not None:
        raw = client.fetch("GET", f"/v1/history/{arguments.generation}")
        if arguments.json:
            terminal.json(raw)
        else:
            _show_one(understood(raw, Generation), terminal)
        return DONE
    raw = client.fetch("GET", "/v1/history")
    if arguments.json:
        terminal.json(raw)
        return DONE
    rows = [["GENERATION", "ACCEPTED", "REASON", "MODELS", "CHANGED"]]
    now = time.time()
    for one in understood(raw, list[Generation]):
        mark = " (held)" if one.held else " *" if one.accepted else ""
        changed = ", ".join(one.changed) or one.problem or "-"
        cells = [f"{one.number}{mark}", words.ago(one.accepted_at, now), one.reason, str(one.declared), changed]
        rows.append([words.plain(cell) for cell in cells])
    terminal.lines(table(rows, terminal.style))
    return DONE


def _show_one(one: Generation, terminal: Terminal) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.accepted_at))
    terminal.line(f"Generation {one.number} ({words.plain(one.reason)}), accepted {when}")
    rows = [["NAME", "SOURCE", "FETCHED", "REVISION", "IN STORE"]]
    for model in one.models:
        cells = [model.name, model.source, model.digest, model.revision or "-", "yes" if model.present else "no"]
        rows.append([words.plain(cell) for cell in cells])
    terminal.lines(table(rows, terminal.style))


def rollback(arguments: Namespace, terminal: Terminal) -> int:
    """Serve an earlier generation again."""
    request = RollbackRequest(arguments.to, arguments.wait, arguments.timeout)
    raw = Client(arguments.socket).fetch("POST", "/v1/rollback", request, arguments.timeout + _MARGIN_SECONDS)
    reply = understood(raw, RollbackReply)
    if arguments.json:
        terminal.json(raw)
    else:
        terminal.line(f"rolled back to generation {reply.of}; {words.plain(reply.message)}")
        if reply.failing:
            terminal.error(f"not as declared: {', '.join(map(words.plain, reply.failing))}")
        elif arguments.wait and not reply.settled:
            terminal.error(f"not settled after {arguments.timeout:g} seconds")
    return FAILED if arguments.wait and (reply.failing or not reply.settled) else DONE


def update(arguments: Namespace, terminal: Terminal) -> int:
    """Ask sources whether they moved; fetch what did."""
    request = UpdateRequest(arguments.models, arguments.check)
    raw = Client(arguments.socket).fetch("POST", "/v1/update", request, PATIENCE_SECONDS)
    rows = understood(raw, list[UpdateRow])
    if arguments.json:
        terminal.json(raw)
    else:
        cells = [["NAME", "SOURCE", "STATE", "MESSAGE"]]
        for row in rows:
            state = terminal.style.paint(row.state, _STATES.get(row.state, "dim"))
            cells.append([words.plain(row.model), words.plain(row.source), state, words.plain(row.message)])
        terminal.lines(table(cells, terminal.style))
    if any(row.state == "unknown" for row in rows):
        return FAILED
    return CHANGES if any(row.state == "moved" for row in rows) else DONE


def lock(arguments: Namespace, terminal: Terminal) -> int:
    """Write models.lock.yaml for the accepted generation, as the user."""
    raw = Client(arguments.socket).fetch("GET", "/v1/lock")
    reply = understood(raw, LockReply)
    if arguments.json:
        terminal.json(raw)
    elif arguments.output == "-":
        terminal.text(reply.text)
    else:
        path = Path(arguments.output or reply.path)
        _write(path, reply.text)
        terminal.line(f"wrote {words.plain(str(path))}: {len(reply.locked)} models")
    for name in reply.unresolved:
        terminal.note(f"{name} has no entry: its source has not given anything yet")
    return FAILED if reply.unresolved else DONE


def _write(path: Path, text: str) -> None:
    """Beside, then renamed: powerd may be looking."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, "utf-8")
        beside.rename(path)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
