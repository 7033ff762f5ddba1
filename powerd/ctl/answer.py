"""An answer shown as it is made: what the model thinks between its marks, its text, and its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from powerd.ctl import words
from powerd.ctl.exits import Failed
from powerd.ctl.terminal import Terminal
from powerd.ctl.wrap import Wrap


class Answer:
    """Prints the chunks of /api/generate or /api/chat. What was said stays readable in `text` and `thinking`."""

    def __init__(self, terminal: Terminal, *, wrap: bool = False, hide_thinking: bool = False) -> None:
        self._terminal = terminal
        self._wrap = Wrap(terminal.style.width or 0) if wrap and terminal.tty else None
        self._hidden = hide_thinking
        self._thinking = False
        self._mid_line = False
        self.text = ""
        self.thinking = ""

    def all(self, chunks: Iterator[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Print every chunk; returns the final one. Raises Failed when there is none."""
        final: Mapping[str, Any] | None = None
        try:
            for chunk in chunks:
                self._chunk(chunk)
                final = chunk if chunk.get("done") else final
            if final is None:
                raise Failed("powerd ended the answer early; what was printed is not complete")
        except (Failed, KeyboardInterrupt):
            self._break()
            raise
        self._write("\n\n")
        return final

    def _chunk(self, chunk: Mapping[str, Any]) -> None:
        message = chunk.get("message") or {}
        thinking = chunk.get("thinking") or message.get("thinking") or ""
        response = chunk.get("response") or message.get("content") or ""
        self.thinking += thinking
        self.text += response
        if thinking and not self._hidden:
            self._thought(thinking)
        if response:
            self._said(response)
        for call in chunk.get("tool_calls") or message.get("tool_calls") or ():
            self._said(f"{call.get('function')}\n")

    def _thought(self, text: str) -> None:
        if not self._thinking:
            self._write("Thinking...\n", dim=True)
            self._thinking = True
        self._write(text, dim=True)

    def _said(self, text: str) -> None:
        if self._thinking:
            self._write("\n...done thinking.\n\n", dim=True)
            self._thinking = False
        self._write(text)

    def _write(self, text: str, *, dim: bool = False) -> None:
        self._mid_line = not text.endswith("\n")
        clean = words.harmless(text) if self._terminal.tty else text
        wrapped = self._wrap.feed(clean) if self._wrap else clean
        self._terminal.shown(self._terminal.style.paint(wrapped, "dim") if dim else wrapped)

    def _break(self) -> None:
        """End a half-written line, so that what follows starts its own."""
        if self._mid_line:
            self._terminal.text("\n")


def statistics(final: Mapping[str, Any]) -> list[str]:
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
