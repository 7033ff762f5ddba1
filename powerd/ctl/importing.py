"""The verb import: a Modelfile, a llama-swap configuration, or a preset or command line of llama-server."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from pathlib import Path

from powerd.ctl.exits import DONE, Failed
from powerd.ctl.foreign.document import Document, Unreadable
from powerd.ctl.foreign.ollama import modelfile
from powerd.ctl.foreign.preset import command, preset, server_arguments, words_of
from powerd.ctl.foreign.swap import swap
from powerd.ctl.models_text import mend, text
from powerd.ctl.terminal import Terminal
from powerd.modelfile import ModelfileError, decode

_MAX_TEXT = 1 << 20
_SECTION = re.compile(r"^[ \t]*\[[^\]\n]+\][ \t]*$", re.MULTILINE)
_MODELS = re.compile(r"^models[ \t]*:", re.MULTILINE)
_FROM = re.compile(r"^[ \t]*FROM[ \t]", re.MULTILINE | re.IGNORECASE)


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Print what the file or command line comes to as a models.yaml."""
    try:
        document, origin = _read(arguments.file, arguments.format, arguments.name)
    except Unreadable as error:
        raise Failed(f"{arguments.file[:200]}: {error}") from None
    terminal.line(text([f"Made by `powerctl import` of {origin}.", *document.notes], document.entries)[:-1])
    left = sum(note.startswith("not carried over") for note in _notes(document))
    if left:
        things = "thing is" if left == 1 else "things are"
        terminal.note(f"{left} {things} not carried over: see the comments")
    return DONE


def _notes(document: Document) -> list[str]:
    return [*document.notes, *(note for entry in document.entries for note in entry.notes)]


def _read(file: str, form: str | None, name: str | None) -> tuple[Document, str]:
    """What was named, read, and what to call it. Raises Unreadable, Failed."""
    if _is_line(file):
        return command(words_of(file), Path.cwd()), "a command line"
    written = _text(file)
    path = Path.cwd() / ("Modelfile" if file == "-" else file)
    form = form or _recognised(written)
    origin = "standard input" if file == "-" else path.name
    if form == "llama-swap":
        return swap(written, path.parent, os.environ), origin
    if form == "preset":
        return preset(written, path.parent), origin
    if form == "command":
        return command(words_of(written), path.parent), origin
    return modelfile(written, path.parent, name or _name(path), Path.is_file), origin


def _is_line(text: str) -> bool:
    return " " in text and server_arguments(text.split()) is not None and not os.path.lexists(text)


def _name(path: Path) -> str:
    """What to call the model of a Modelfile: by its file, or by its directory where the file says nothing."""
    return mend(path.stem if path.stem.lower() != "modelfile" else path.parent.name)


def _text(file: str) -> str:
    try:
        data = sys.stdin.buffer.read(_MAX_TEXT + 1) if file == "-" else _bytes(Path(file))
        if len(data) > _MAX_TEXT:
            raise Failed(f"{file}: larger than {_MAX_TEXT} bytes")
        return decode(data).replace("\r\n", "\n")
    except ModelfileError:
        raise Failed(f"{file}: neither UTF-8 nor UTF-16 with a byte-order mark") from None
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}") from None


def _bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_MAX_TEXT + 1)


def _recognised(written: str) -> str:
    """Which of the formats a text is in. Raises Unreadable."""
    if _MODELS.search(written):
        return "llama-swap"
    if _SECTION.search(written):
        return "preset"
    if _FROM.search(written):
        return "modelfile"
    if "llama-server" in written or "llama.cpp:" in written:
        return "command"
    raise Unreadable(
        "neither a Modelfile, a configuration of llama-swap, nor a preset or command line of llama-server; "
        "--format says which"
    )
