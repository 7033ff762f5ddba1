"""The verbs that tell why: why, explain, events."""

from __future__ import annotations

import time
from argparse import Namespace
from contextlib import closing

import msgspec

from powerd.control.schema import Event
from powerd.control.schema_tell import EventsRequest, Explained, ExplainRequest, Explanation, WhyReply, WhyRequest
from powerd.ctl import words
from powerd.ctl.client import Client, understood
from powerd.ctl.exits import DONE, FAILED
from powerd.ctl.terminal import Colour, Style, Terminal, table

_LONGEST_VALUE = 60  # characters of a text shown in a table
_COLOURS: dict[str, Colour] = {"crash": "red", "error": "red", "canary": "yellow", "drift": "yellow", "gap": "yellow"}


def why(arguments: Namespace, terminal: Terminal) -> int:
    """Say why a model or a request is where it is."""
    raw = Client(arguments.socket).fetch("POST", "/v1/why", WhyRequest(arguments.subject))
    reply = understood(raw, WhyReply)
    if arguments.json:
        terminal.json(raw)
        return DONE
    terminal.line(words.plain(f"{reply.kind} {reply.subject}: {reply.answer}"))
    for line in reply.because:
        terminal.line(f"  {words.plain(line)}")
    return DONE


def explain(arguments: Namespace, terminal: Terminal) -> int:
    """Print every effective value of a model and who set it."""
    raw = Client(arguments.socket).fetch("POST", "/v1/explain", ExplainRequest(arguments.model))
    told = understood(raw, Explanation)
    if arguments.json:
        terminal.json(raw)
        return DONE
    state = "loaded" if told.loaded else "not loaded"
    terminal.line(words.plain(f"{told.model}: {told.kind}, generation {told.generation}, {state}"))
    terminal.line()
    terminal.lines(table(_values(told), terminal.style))
    if told.choices:
        terminal.line()
        terminal.lines([words.plain(choice) for choice in told.choices])
    return DONE


def _values(told: Explanation) -> list[list[str]]:
    header = ["FIELD", "VALUE", *(["ENGINE HAS"] if told.loaded else []), "FROM"]
    return [header, *(_value(each, loaded=told.loaded) for each in told.values)]


def _value(value: Explained, *, loaded: bool) -> list[str]:
    have = ["-" if value.have is None else _shown(value.have)] if loaded else []
    return [value.field, _shown(value.value), *have, words.plain(value.origin)]


def _shown(value: object) -> str:
    """A value on one line, cut where it is long; `--json` has all of it."""
    text = value if isinstance(value, str) else _written(value)
    text = words.plain(text)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _written(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_written(inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(_written(inner) for inner in value) or "-"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def events(arguments: Namespace, terminal: Terminal) -> int:
    """Print what happened, and with --follow what happens."""
    since = time.time() - arguments.since if arguments.since else 0.0
    request = EventsRequest(since=since, model=arguments.model or "", follow=arguments.follow)
    with closing(Client(arguments.socket).stream("/v1/events", request)) as lines:
        for line in lines:
            event = understood(line, Event)
            terminal.line(line.decode(errors="replace") if arguments.json else _event(event, terminal.style))
            terminal.flush()
    if arguments.follow:
        terminal.error("powerd ended the stream; it is stopping")
        return FAILED
    return DONE


def _event(event: Event, style: Style) -> str:
    """`2026-11-21 03:04:05  crash   coder        crash: stopped unexpectedly …`."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    text = ": ".join(part for part in (event.reason, event.message) if part)
    kind = words.plain(event.kind)
    colour = _COLOURS.get(event.kind)
    painted = style.paint(kind, colour) if colour else kind
    return f"{at}  {painted}{' ' * max(0, 7 - len(kind))} {words.plain(event.model) or '-':<12} {words.plain(text)}"
