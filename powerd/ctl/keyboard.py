"""Lines typed at a terminal, edited with the keys of readline, and messages of several lines."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from powerd.ctl.exits import Failed
from powerd.ctl.history import History

try:
    import readline
except ImportError:  # a Python without it reads lines all the same
    readline = None  # type: ignore[assignment]  # the module is optional

PROMPT, MORE = ">>> ", "... "
FENCE = '"""'
_EDIT = "/edit"  # what Ctrl-G makes of a line
_BINDINGS = (
    '"\\C-j": "\\C-v\\C-j"',  # a newline within the line
    f'"\\C-g": "\\C-a{_EDIT} \\C-m"',
    '"\\C-i": "        "',
    "set enable-bracketed-paste on",
    "set horizontal-scroll-mode off",
)


class Keyboard:
    """Reads messages. Raises EOFError for Ctrl-D on an empty line and KeyboardInterrupt for Ctrl-C."""

    def __init__(self, history: History) -> None:
        self.history = history
        if readline is None:
            return
        readline.set_auto_history(False)
        readline.clear_history()
        for line in history.lines():
            readline.add_history(line)
        if "libedit" not in (readline.__doc__ or ""):
            for binding in _BINDINGS:
                readline.parse_and_bind(binding)

    def message(self) -> str:
        """The next message or command."""
        line = self._line(PROMPT)
        while line.startswith(_EDIT) and line[len(_EDIT) :][:1] in {"", " "}:
            line = self._line(PROMPT, edited(line[len(_EDIT) :].strip()))
        return fenced(line, lambda: self._line(MORE))

    def _line(self, prompt: str, begun: str = "") -> str:
        line = _asked(prompt, begun)
        if readline is not None and self.history.enabled and line.strip():
            readline.add_history(line)
        if not line.startswith(_EDIT):
            self.history.add(line)
        return line.encode(errors="replace").decode()  # bytes that are no UTF-8 cannot be sent


def _asked(prompt: str, begun: str) -> str:
    if readline is None:
        return input(prompt)
    try:
        readline.set_startup_hook((lambda: readline.insert_text(begun)) if begun else None)
        return input(prompt)
    finally:
        readline.set_startup_hook(None)


def fenced(line: str, more: Callable[[], str]) -> str:
    '''The line, or all between `"""` and the line that ends with `"""`.'''
    opening = next((start for start in (FENCE, f"/set system {FENCE}") if line.startswith(start)), None)
    if opening is None:
        return line
    command = opening.removesuffix(FENCE)
    rest = line[len(opening) :]
    while not rest.endswith(FENCE):
        rest += "\n" + more()
    return command + rest.removesuffix(FENCE)


def edited(text: str) -> str:
    """The text after the person's editor had it. Raises Failed."""
    names = ("OLLAMA_EDITOR", "VISUAL", "EDITOR")
    editor = shlex.split(next((os.environ[name] for name in names if os.environ.get(name)), "vi"))
    with tempfile.TemporaryDirectory(prefix="powerctl-") as directory:
        file = Path(directory) / "message.txt"
        file.write_text(text, encoding="utf-8")
        try:
            ended = subprocess.run([*editor, str(file)], check=False).returncode
        except OSError as error:
            raise Failed(f"{editor[0]}: {error.strerror}; OLLAMA_EDITOR, VISUAL or EDITOR names an editor") from error
        if ended:
            raise Failed(f"{editor[0]} ended with {ended}; the message is not taken over")
        return file.read_text(encoding="utf-8", errors="replace").rstrip("\n")
