"""Where powerctl writes: tables, colours, lines redrawn in place, and what a pipe gets instead."""

from __future__ import annotations

import io
import os
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

import msgspec

from powerd.ctl import words

Colour = Literal["bold", "dim", "red", "green", "yellow"]

_CODES: Mapping[Colour, int] = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}
_PAINT = re.compile(r"\x1b\[[0-9;]*m")
_GAP = 4
_NARROWEST = 24  # columns the last column of a table keeps on the narrowest terminal


@dataclass(frozen=True, slots=True)
class Style:
    """How output should look. `width` is the terminal's columns; None means a pipe: no wrapping, no bars."""

    width: int | None = None
    colour: bool = False

    def paint(self, text: str, colour: Colour) -> str:
        """`text` in `colour`, where colours are wanted."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour and text else text


def table(rows: Sequence[Sequence[str]], style: Style, indent: str = "") -> list[str]:
    """Left-aligned columns four spaces apart; on a terminal the last column wraps inside its own bounds."""
    widths = [max(_visible(row[at]) for row in rows) + _GAP for at in range(len(rows[0]) - 1)] if rows else []
    offset = len(indent) + sum(widths)
    lines: list[str] = []
    for row in rows:
        start = indent + "".join(
            cell + " " * (width - _visible(cell)) for cell, width in zip(row, widths, strict=False)
        )
        first, *more = _wrapped(row[-1], style, offset)
        lines.append((start + first).rstrip())
        lines += [" " * offset + line for line in more]
    return lines


def _visible(text: str) -> int:
    return len(_PAINT.sub("", text))


def _wrapped(cell: str, style: Style, offset: int) -> list[str]:
    if style.width is None or _visible(cell) <= style.width - offset:
        return [cell]
    return textwrap.wrap(cell, max(_NARROWEST, style.width - offset)) or [""]


class Terminal:
    """Standard output and error. Writing to a closed pipe raises BrokenPipeError."""

    def __init__(self, out: TextIO, err: TextIO, environ: Mapping[str, str]) -> None:
        for stream in (out, err):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        self._out = out
        self._err = err
        self._drawn = 0
        self.tty = out.isatty()
        self.style = _style(out, environ) if self.tty else Style()

    def line(self, text: str = "") -> None:
        """Print one finished line, or several joined by newlines."""
        self._out.write(text + "\n")

    def lines(self, lines: Sequence[str]) -> None:
        """Print finished lines."""
        for line in lines:
            self.line(line)

    def text(self, text: str) -> None:
        """Print a piece of a model's or a person's text at once; a terminal gets it without escape sequences."""
        self.shown(words.harmless(text) if self.tty else text)

    def shown(self, text: str) -> None:
        """Print a piece of text at once, as it is."""
        self._out.write(text)
        self._out.flush()

    def json(self, document: bytes) -> None:
        """Print a JSON document, indented and otherwise as it came."""
        self.line(msgspec.json.format(document, indent=2).decode())

    def redraw(self, lines: Sequence[str]) -> None:
        """Replace the lines that the last call drew; on a terminal only."""
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        rest = "\x1b[J" if len(lines) < self._drawn else ""
        self._out.write(up + "".join(f"\r\x1b[K{line}\n" for line in lines) + rest)
        self._out.flush()
        self._drawn = len(lines)

    def screen(self, lines: Sequence[str]) -> None:
        """Fill the screen with these lines, as many as it has rows for; on a terminal only."""
        rows = os.get_terminal_size(self._out.fileno()).lines - 1
        shown = lines if len(lines) <= rows else [*lines[: rows - 1], "…"]
        self._out.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J")
        self._out.flush()

    def note(self, text: str) -> None:
        """Say something beside the output, on standard error."""
        self._out.flush()
        self._err.write(words.harmless(text) + "\n")

    def error(self, message: str) -> None:
        """Report a failure on standard error."""
        self.note(f"Error: {message}")

    def flush(self) -> None:
        """Hand everything to the system, so that a failure to write shows while it can be reported."""
        self._out.flush()
        self._err.flush()


def beside() -> Terminal:
    """Standard error alone, for progress that is no part of the output."""
    return Terminal(sys.stderr, sys.stderr, os.environ)


def _style(out: TextIO, environ: Mapping[str, str]) -> Style:
    columns = environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns):
        width = int(columns)
    else:
        try:
            width = os.get_terminal_size(out.fileno()).columns or 80
        except OSError:
            width = 80
    return Style(width, colour=not environ.get("NO_COLOR") and environ.get("TERM") != "dumb")
