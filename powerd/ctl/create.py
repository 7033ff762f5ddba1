"""The verb create: reads a Modelfile, uploads what it names, and has the daemon make the model."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from powerd.ctl.client import PATIENCE_SECONDS, Client, objects
from powerd.ctl.exits import DONE, Failed, Refused
from powerd.ctl.parts import Part, parts
from powerd.ctl.progress import Bars, Log
from powerd.ctl.terminal import Terminal
from powerd.modelfile import Build, ModelfileError, build, decode, parse
from powerd.names import Name

MAX_MODELFILE = 16 << 20
_REDRAW_SECONDS = 0.1
_NOT_FOUND = 404
_HERE = "FROM ."  # what a model is made from where there is no Modelfile


class Steps:
    """Shows progress objects: as bars on a terminal, as lines elsewhere, as they are with `--json`."""

    def __init__(self, terminal: Terminal, *, json: bool) -> None:
        self._terminal = terminal
        self._json = json
        self._log = Log()
        self._bars = Bars(terminal.style)
        self._drawn = 0.0
        self.last = ""

    def show(self, step: Mapping[str, Any]) -> None:
        """Show one."""
        self.last = str(step.get("status", ""))
        if self._json:
            self._terminal.line(msgspec.json.encode(step).decode())
            self._terminal.flush()
        elif self._terminal.tty:
            now = time.monotonic()
            self._bars.feed(step, now)
            if now - self._drawn >= _REDRAW_SECONDS:
                self.redraw()
                self._drawn = now
        elif (line := self._log.feed(step)) is not None:
            self._terminal.line(line)
            self._terminal.flush()

    def redraw(self) -> None:
        """Bring a terminal up to date."""
        if self._terminal.tty and not self._json:
            self._terminal.redraw(self._bars.lines)


def create(arguments: Namespace, terminal: Terminal) -> int:
    """Make a model from a Modelfile."""
    _check_name(arguments.model)
    wanted = _read(arguments.file) if arguments.file is not None else build(parse(_HERE))
    for warning in wanted.warnings:
        terminal.note(warning)
    directory = Path(arguments.file).parent if arguments.file not in {None, "-"} else Path()
    if arguments.draft_quantize and not wanted.draft:
        raise Failed("--draft-quantize requires a DRAFT model")
    needed = _sources(wanted, directory)
    client = Client(arguments.socket)
    steps = Steps(terminal, json=arguments.json)
    try:
        steps.show({"status": "gathering model components"})
        request: dict[str, object] = {"model": arguments.model, **wanted.fields}
        given = {"from": needed.base, "quantize": arguments.quantize, "draft_quantize": arguments.draft_quantize}
        given |= {field: _uploaded(client, files, steps) for field, files in needed.files.items()}
        request |= {name: value for name, value in given.items() if value}
        with closing(client.stream("/api/create", request)) as lines:
            for step in objects(lines):
                steps.show(step)
    finally:
        steps.redraw()
    if steps.last != "success":
        raise Failed(f"powerd ended early (its last word was {steps.last!r}); create the model again")
    return DONE


def _check_name(text: str) -> None:
    """Raise Failed for what can be no model's name, before anything is sent."""
    try:
        Name.parse(text)
    except ValueError as error:
        raise Failed(f"{error}: {text}") from None


def _read(file: str) -> Build:
    try:
        data = sys.stdin.buffer.read(MAX_MODELFILE + 1) if file == "-" else _bytes(Path(file))
        if len(data) > MAX_MODELFILE:
            raise Failed(f"{file}: larger than {MAX_MODELFILE} bytes; this is no Modelfile")
        return build(parse(decode(data)))
    except ModelfileError as error:
        raise Failed(f"{file}: {error}") from error


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_MODELFILE + 1)
    except FileNotFoundError as error:
        raise Failed(f"specified Modelfile wasn't found: {path}; name one with -f") from error
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Needed:
    """What a model is made of: another one, and the files of each field of the request."""

    base: str
    files: Mapping[str, list[Part]]


def _sources(wanted: Build, directory: Path) -> Needed:
    """The model it is made from, and the files for weights, adapters and draft. Raises Failed."""
    base = ""
    files: list[Part] = []
    for source in wanted.sources:
        found = parts(source, directory)
        files += found
        base = base if found else source
    draft = _files("DRAFT", wanted.draft, directory)
    if draft:
        _check_apart(wanted, directory)
    adapters = _files("ADAPTER", wanted.adapter, directory)
    return Needed(base, {"files": _named_apart(files), "adapters": adapters, "draft_files": draft})


def _files(command: str, text: str, directory: Path) -> list[Part]:
    """The files that ADAPTER or DRAFT means."""
    found = parts(text, directory) if text else []
    if text and not found:
        raise Failed(f"{command} {text}: there is no such file")
    return found


def _check_apart(wanted: Build, directory: Path) -> None:
    """Raise Failed for a draft that is the model itself."""
    draft = _resolved(wanted.draft, directory)
    if any(_resolved(source, directory) == draft for source in wanted.sources):
        raise Failed(f"DRAFT must not reference the same local path as FROM: {wanted.draft}")


def _resolved(text: str, directory: Path) -> Path:
    return (directory / Path(text).expanduser()).resolve()


def _named_apart(files: list[Part]) -> list[Part]:
    """The files, each once; those that share a name get a number before it."""
    unique = list(dict.fromkeys(files))
    names = [part.name for part in unique]
    return [
        part if names.count(part.name) == 1 else Part(f"{number}/{part.name}", part.path)
        for number, part in enumerate(unique)
    ]


def _uploaded(client: Client, files: list[Part], steps: Steps) -> dict[str, str]:
    """Have every file in the store; returns their digests by name. Raises Failed."""
    digests = {}
    for part in files:
        digest = part.digest(_progress(steps, f"hashing {part.name}", f"hash:{part.name}"))
        digests[part.name] = digest
        if not _present(client, digest):
            pieces = part.pieces(_progress(steps, f"uploading {part.name}", digest))
            client.upload(f"/api/blobs/{digest}", pieces, part.size)
    return digests


def _progress(steps: Steps, status: str, key: str) -> Any:
    return lambda done, total: steps.show({"status": status, "digest": key, "total": total, "completed": done})


def _present(client: Client, digest: str) -> bool:
    try:
        client.fetch("HEAD", f"/api/blobs/{digest}", timeout=PATIENCE_SECONDS)
    except Refused as error:
        if error.status == _NOT_FOUND:
            return False
        raise
    return True
