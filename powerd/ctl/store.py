"""The verbs about the store: df, gc, fsck, adopt."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import msgspec

from powerd.control.schema_store import AdoptRequest, Finding, FsckReport, FsckRequest, GcReply, GcRequest, Step, Usage
from powerd.ctl import words
from powerd.ctl.client import PATIENCE_SECONDS, Client, understood
from powerd.ctl.exits import DONE, FAILED, Failed
from powerd.ctl.progress import Meter, bar
from powerd.ctl.terminal import Terminal, table

_REDRAW_SECONDS = 0.1


def df(arguments: Namespace, terminal: Terminal) -> int:
    """Print where the store's bytes are."""
    raw = Client(arguments.socket).fetch("GET", "/v1/store/df", timeout=PATIENCE_SECONDS)
    usage = understood(raw, Usage)
    if arguments.json:
        terminal.json(raw)
        return DONE
    rows = [("NAME", "SIZE", "ALONE", "WHERE")]
    for model in sorted(usage.models, key=lambda model: model.size, reverse=True):
        where = model.where if model.where != usage.root else ""
        alone = "-" if model.read_only else words.size(model.alone)
        rows.append((words.plain(model.name), words.size(model.size), alone, words.plain(where)))
    terminal.lines(table(rows, terminal.style))
    terminal.line()
    terminal.lines(table(_totals(usage), terminal.style))
    return DONE


def _totals(usage: Usage) -> list[tuple[str, str]]:
    room = words.size(usage.free) + (f" of a quota of {words.size(usage.quota)}" if usage.quota is not None else "")
    rows = [
        (words.plain(usage.root), f"{words.size(usage.bytes)} in {usage.blobs} blobs"),
        ("  shared by several models", words.size(usage.shared)),
        ("  kept for rollback", words.size(usage.kept)),
        ("  needed by no model", words.size(usage.unreferenced)),
        ("unfinished downloads", words.size(usage.leftovers)),
        ("corrupt blobs put aside", words.size(usage.corrupt)),
        ("may still be brought in", room),
    ]
    return rows + [("also serves from", words.plain(path)) for path in usage.lower]


def gc(arguments: Namespace, terminal: Terminal) -> int:
    """Delete what nothing needs."""
    request = GcRequest(grace=arguments.grace, force=arguments.force)
    raw = Client(arguments.socket).fetch("POST", "/v1/store/gc", request, PATIENCE_SECONDS)
    reply = understood(raw, GcReply)
    if arguments.json:
        terminal.json(raw)
    else:
        terminal.line(f"deleted {len(reply.deleted)} blobs; {words.size(reply.bytes)} came free")
    for path in reply.blocked:
        terminal.error(f"{words.plain(path)} cannot be read as a manifest; while it is there, no blob is deleted")
    return FAILED if reply.blocked else DONE


def fsck(arguments: Namespace, terminal: Terminal) -> int:
    """Have every byte of the store checked."""
    last = _last(arguments, terminal, "/v1/store/fsck", FsckRequest(arguments.repair), "checking")
    if last.report is None:
        raise Failed("powerd ended the check early")
    return show_report(last.report, terminal, as_json=arguments.json)


def show_report(report: FsckReport, terminal: Terminal, *, as_json: bool) -> int:
    """Print what fsck found; returns the exit code."""
    if as_json:
        terminal.json(msgspec.json.encode(report))
    else:
        for finding in report.findings:
            _show_finding(finding, terminal)
        judged = terminal.style.paint("sound", "green") if report.sound else terminal.style.paint("not sound", "red")
        terminal.line(f"{report.blobs} blobs, {words.size(report.bytes)}, {report.manifests} manifests: {judged}")
    return DONE if report.sound else FAILED


def _show_finding(finding: Finding, terminal: Terminal) -> None:
    needed = f"; needed by {', '.join(finding.models)}" if finding.models else ""
    moved = f"; moved to {finding.moved_to}, the next pull fetches it again" if finding.moved_to else ""
    kind = terminal.style.paint(finding.kind.replace("_", " "), "dim" if finding.harmless else "red")
    terminal.line(f"{kind}: {words.plain(finding.message + needed + moved)}")


def adopt(arguments: Namespace, terminal: Terminal) -> int:
    """Take over the models of another directory."""
    path = str(Path(arguments.path).expanduser().absolute())
    last = _last(arguments, terminal, "/v1/store/adopt", AdoptRequest(path, arguments.how), "adopting")
    if last.adopted is None:
        raise Failed("powerd ended the adoption early")
    if arguments.json:
        terminal.json(msgspec.json.encode(last.adopted))
        return DONE
    for text in last.adopted.skipped:
        terminal.note(f"skipped {words.plain(text)}")
    if arguments.how == "forget":
        terminal.line(f"{words.plain(path)} is no longer served from")
    else:
        terminal.lines([words.plain(name) for name in last.adopted.models])
        terminal.line(f"adopted {len(last.adopted.models)} models of {words.plain(last.adopted.directory)}")
    return DONE


def _last(arguments: Namespace, terminal: Terminal, route: str, request: object, label: str) -> Step:
    """Follow a stream to its end, with a bar on a terminal. Raises Failed for its error."""
    last, drawn, meter = Step(), 0.0, Meter()
    stream: Generator[bytes, None, None] = Client(arguments.socket).stream(route, request)
    with closing(stream) as lines:
        for line in lines:
            last = understood(line, Step)
            now = time.monotonic()
            meter.feed(last.completed, now)
            if terminal.tty and last.total and not arguments.json and now - drawn >= _REDRAW_SECONDS:
                subject = words.plain(last.subject or label)
                terminal.redraw([bar(subject, last.completed, last.total, meter.rate, terminal.style)])
                drawn = now
    if last.error:
        raise Failed(last.error)
    return last
