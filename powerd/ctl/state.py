"""The verbs about the state of the machine: status, apply, wait."""

from __future__ import annotations

import time
from argparse import Namespace
from contextlib import nullcontext

from powerd.control.schema import ApplyReply, ApplyRequest, Event, Status, WaitReply, WaitRequest
from powerd.ctl import words
from powerd.ctl.client import Client, understood
from powerd.ctl.converging import drawing
from powerd.ctl.exits import DONE, FAILED, USAGE
from powerd.ctl.report import report
from powerd.ctl.terminal import Terminal

_MARGIN_SECONDS = 15.0  # what an answer may take beyond the time the daemon was told to wait
_WATCH_SECONDS = 1.0
_READ_SECONDS = 60.0  # for reading models.yaml, withdrawals included


def status(arguments: Namespace, terminal: Terminal) -> int:
    """Print what is wanted, what is there, and why they differ."""
    client = Client(arguments.socket)
    if arguments.watch:
        return _watch(client, terminal)
    raw = client.fetch("GET", "/v1/status")
    seen = understood(raw, Status)
    if arguments.json:
        terminal.json(raw)
    else:
        terminal.lines(report(seen, time.time(), terminal.style))
    return DONE if seen.as_declared else FAILED


def _watch(client: Client, terminal: Terminal) -> int:
    """Draw the status again and again; ends with Ctrl-C, or when the daemon does not answer."""
    if not terminal.tty:
        terminal.error("--watch draws on a terminal; in a pipe use `powerctl events --follow`")
        return USAGE
    while True:
        seen = client.ask("GET", "/v1/status", Status)
        terminal.screen(report(seen, time.time(), terminal.style))
        time.sleep(_WATCH_SECONDS)


def apply(arguments: Namespace, terminal: Terminal) -> int:
    """Have models.yaml read again, and with `--wait` see it through."""
    timeout = arguments.timeout
    request = ApplyRequest(locked=arguments.locked)
    if arguments.wait:
        request = ApplyRequest(wait=True, timeout=timeout, locked=arguments.locked)
    silence = timeout + _READ_SECONDS if arguments.wait else _READ_SECONDS
    client = Client(arguments.socket)
    with drawing(client, terminal) if arguments.wait and not arguments.json else nullcontext():
        raw = client.fetch("POST", "/v1/apply", request, silence)
    reply = understood(raw, ApplyReply)
    if arguments.json:
        terminal.json(raw)
    else:
        _applied(reply, arguments.wait, timeout, terminal)
    failed = bool(reply.problems) or (arguments.wait and (not reply.settled or bool(reply.failing)))
    return FAILED if failed else DONE


def _applied(reply: ApplyReply, waited: bool, timeout: float, terminal: Terminal) -> None:
    if reply.problems:
        for problem in reply.problems:
            terminal.note(problem)
        terminal.error(f"models.yaml was refused; generation {reply.generation} goes on")
        return
    terminal.line(f"generation {reply.generation} accepted" if reply.changed else "unchanged")
    if reply.hold:
        terminal.line(words.plain(reply.hold))
    terminal.lines([words.plain(_happened(event)) for event in reply.events if event.reason != "Accepted"])
    if waited and not reply.settled:
        terminal.error(f"not settled after {timeout:g} seconds; `powerctl status` shows what is under way")
    if waited and reply.failing:
        names = ", ".join(words.plain(name) for name in reply.failing)
        terminal.error(f"not as declared: {names}; `powerctl status` shows why")


def _happened(event: Event) -> str:
    what = ": ".join(filter(None, (event.reason, event.message)))
    return f"  {event.kind} {event.model}  {what}" if event.model else f"  {event.kind}  {what}"


def wait(arguments: Namespace, terminal: Terminal) -> int:
    """Wait until a condition is True of a model or the node."""
    model = (arguments.model or "").removeprefix("model/")
    request = WaitRequest(arguments.condition, model, arguments.timeout)
    raw = Client(arguments.socket).fetch("POST", "/v1/wait", request, arguments.timeout + _MARGIN_SECONDS)
    reply = understood(raw, WaitReply)
    subject = f"model {model}" if model else "the node"
    seen = reply.condition
    if arguments.json:
        terminal.json(raw)
    elif reply.met:
        terminal.line(words.plain(f"{seen.type} is {seen.status} of {subject}"))
    else:
        why = ": ".join(part for part in (seen.reason, seen.message) if part)
        terminal.error(
            f"{seen.type} of {subject} is {seen.status} after {arguments.timeout:g} seconds"
            + (f" ({why})" if why else "")
        )
    return DONE if reply.met else FAILED
