"""The verbs whose answer arrives piece by piece: pull, run."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from powerd.control.schema import ModelRequest
from powerd.control.schema_store import DryRunReply, DryRunRequest
from powerd.ctl import words
from powerd.ctl.client import Client, objects, understood
from powerd.ctl.exits import DONE, USAGE, Failed
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
    _follow(client, "/api/pull", request, arguments, terminal)
    if arguments.load:
        client.fetch("POST", "/v1/load", ModelRequest(arguments.model), LOAD_SECONDS)
    return DONE


def push(arguments: Namespace, terminal: Terminal) -> int:
    """Send a model to a registry."""
    request = {"model": arguments.model, "insecure": arguments.insecure, "destination": arguments.destination}
    _follow(Client(arguments.socket), "/api/push", request, arguments, terminal)
    return DONE


def _follow(client: Client, path: str, request: object, arguments: Namespace, terminal: Terminal) -> None:
    """Show progress to its end. Raises Failed when it does not end well."""
    with closing(client.stream(path, request)) as lines:
        if arguments.json:
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


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Answer one prompt, printing the text as it is made."""
    prompt = _prompt(arguments.prompt)
    if prompt is None:
        terminal.error(
            'there is no prompt: write it after the model (`powerctl run MODEL "your text"`) or pipe it in; '
            "interactive chat comes in a later version"
        )
        return USAGE
    request = {"model": arguments.model, "prompt": prompt, "options": arguments.options}
    given = {"system": arguments.system, "keep_alive": arguments.keepalive}
    request |= {key: value for key, value in given.items() if value is not None}
    with closing(Client(arguments.socket).stream("/api/generate", request)) as lines:
        final = _Printer(terminal).all(objects(lines))
    if arguments.verbose:
        terminal.note("\n".join(_statistics(final)))
    return DONE


def _prompt(given: list[str]) -> str | None:
    """What is piped in, then the words of the command line; None when there is neither."""
    piped = "" if sys.stdin is None or sys.stdin.isatty() else _piped()
    return " ".join([piped, *given] if piped else given) if piped or given else None


def _piped() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Failed(f"standard input is not UTF-8 text (byte {error.start}); convert it first") from error


class _Printer:
    """Prints a generation: what the model thinks between its marks, then the answer."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._thinking = False
        self._mid_line = False

    def all(self, chunks: Iterator[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Print every chunk; returns the final one. Raises Failed when there is none."""
        final: Mapping[str, Any] | None = None
        try:
            for chunk in chunks:
                self._chunk(chunk)
                final = chunk if chunk.get("done") else final
            if final is None:
                raise Failed("powerd ended the answer early; what was printed is not complete")
        except Failed:
            self._break()
            raise
        self._terminal.text("\n\n")
        return final

    def _chunk(self, chunk: Mapping[str, Any]) -> None:
        thinking, response = chunk.get("thinking") or "", chunk.get("response") or ""
        if thinking and not self._thinking:
            self._text("Thinking...\n")
            self._thinking = True
        if thinking:
            self._text(thinking)
        if response and self._thinking:
            self._text("\n...done thinking.\n\n")
            self._thinking = False
        if response:
            self._text(response)

    def _text(self, text: str) -> None:
        self._terminal.text(text)
        self._mid_line = not text.endswith("\n")

    def _break(self) -> None:
        """End a half-written line, so that what follows starts its own."""
        if self._mid_line:
            self._terminal.text("\n")


def _statistics(final: Mapping[str, Any]) -> list[str]:
    """Ollama's table of durations and rates; lines without a figure are left out."""
    lines = [
        ("total duration:", _duration(final, "total_duration")),
        ("load duration:", _duration(final, "load_duration")),
        ("prompt eval count:", _tokens(final, "prompt_eval_count")),
        ("prompt eval duration:", _duration(final, "prompt_eval_duration")),
        ("prompt eval rate:", _rate(final, "prompt_eval_count", "prompt_eval_duration")),
        ("eval count:", _tokens(final, "eval_count")),
        ("eval duration:", _duration(final, "eval_duration")),
        ("eval rate:", _rate(final, "eval_count", "eval_duration")),
    ]
    return [f"{label:<21} {value}" for label, value in lines if value]


def _duration(final: Mapping[str, Any], key: str) -> str:
    value = final.get(key)
    return words.nanoseconds(value) if isinstance(value, int) and value > 0 else ""


def _tokens(final: Mapping[str, Any], key: str) -> str:
    value = final.get(key)
    return f"{value} token(s)" if isinstance(value, int) and value > 0 else ""


def _rate(final: Mapping[str, Any], count: str, duration: str) -> str:
    tokens, spent = final.get(count), final.get(duration)
    if not isinstance(tokens, int) or not isinstance(spent, int) or not tokens or not spent:
        return ""
    return f"{tokens / spent * 1e9:.2f} tokens/s"
