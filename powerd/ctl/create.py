"""The verb create: reads a Modelfile, uploads what it names, and has the daemon make the model."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from powerd.ctl.client import PATIENCE_SECONDS, Client, objects
from powerd.ctl.exits import DONE, Failed, Refused
from powerd.ctl.parts import Part, parts
from powerd.ctl.progress import Bars, Log
from powerd.ctl.terminal import Terminal
from powerd.modelfile import Build, ModelfileError, build, decode, parse

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
    wanted = _read(arguments.file) if arguments.file is not None else build(parse(_HERE))
    for warning in wanted.warnings:
        terminal.note(warning)
    directory = Path(arguments.file).parent if arguments.file not in {None, "-"} else Path()
    if arguments.draft_quantize and not wanted.draft:
        raise Failed("--draft-quantize requires a DRAFT model")
    base, files, adapters = _sources(wanted, directory)
    client = Client(arguments.socket)
    steps = Steps(terminal, json=arguments.json)
    try:
        steps.show({"status": "gathering model components"})
        request: dict[str, object] = {"model": arguments.model, **wanted.fields}
        given = {"from": base, "quantize": arguments.quantize}
        given |= {"files": _uploaded(client, files, steps), "adapters": _uploaded(client, adapters, steps)}
        request |= {name: value for name, value in given.items() if value}
        with closing(client.stream("/api/create", request)) as lines:
            for step in objects(lines):
                steps.show(step)
    finally:
        steps.redraw()
    if steps.last != "success":
        raise Failed(f"powerd ended early (its last word was {steps.last!r}); create the model again")
    return DONE


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


def _sources(wanted: Build, directory: Path) -> tuple[str, list[Part], list[Part]]:
    """The model it is made from, and the files for weights and adapters. Raises Failed."""
    if wanted.draft:
        if wanted.draft in wanted.sources:
            raise Failed(f"DRAFT must not reference the same local path as FROM: {wanted.draft}")
        raise Failed("DRAFT is not available in this version of powerd")
    base = ""
    files: list[Part] = []
    for source in wanted.sources:
        found = parts(source, directory)
        files += found
        base = base if found else source
    adapters = parts(wanted.adapter, directory) if wanted.adapter else []
    if wanted.adapter and not adapters:
        raise Failed(f"ADAPTER {wanted.adapter}: there is no such file")
    return base, _named_apart(files), adapters


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
