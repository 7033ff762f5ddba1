"""The verb init: writes a models.yaml of what is installed on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import msgspec

from powerd.control.schema_store import InstalledModel, InstalledReply
from powerd.ctl import words
from powerd.ctl.client import Client, understood
from powerd.ctl.exits import DONE, Failed, Unreachable
from powerd.ctl.models_text import Entry, is_alias, key, name_for, text
from powerd.ctl.terminal import Terminal
from powerd.ctl.validate import safe_path

#: Thousands of headers may have to be read.
_SILENCE_SECONDS = 120.0
_MODE = 0o644
_HEAD = (
    "Written by `powerctl init` from the models that are installed on this machine. Nothing is fetched for them.",
    "Every field is described in models-yaml.md; `powerctl validate` checks the file, `powerctl plan` foretells it.",
)
_NOTHING = (
    "No model is installed here yet. The one inside powerd needs no fetching:",
    "",
    "  demo:",
    "    source: builtin:demo",
)


def init(arguments: Namespace, terminal: Terminal) -> int:
    """Write models.yaml, or print it; a file that is there is never touched."""
    reply = understood(_installed(arguments), InstalledReply)
    entries = entries_of(reply.models)
    written = text([*_HEAD, *(() if entries else _NOTHING)], entries)
    for sentence in reply.skipped:
        terminal.note(f"left out: {words.plain(sentence)}")
    if arguments.stdout:
        terminal.line(written.removesuffix("\n"))
        return DONE
    path = Path(reply.models_file)
    write_new(path, written)
    count = len(entries)
    terminal.line(f"wrote {words.plain(str(path))}: {count} model{'' if count == 1 else 's'}, nothing to fetch")
    return DONE


def _installed(arguments: Namespace) -> bytes:
    """What the daemon, or without one `powerd --installed`, says is here."""
    try:
        return Client(arguments.socket).fetch("GET", "/v1/store/installed", timeout=_SILENCE_SECONDS)
    except Unreachable as gone:
        command = [sys.executable, *safe_path(), "-m", "powerd", "--installed"]
        ended = subprocess.run(command, capture_output=True, check=False)
        try:
            msgspec.json.decode(ended.stdout)
        except msgspec.DecodeError:
            told = ended.stderr.decode(errors="replace").strip().removeprefix("powerd: ")
            raise Unreachable(f"{gone.message}; and without it: {words.plain(told)}") from None
        return ended.stdout


def entries_of(models: Sequence[InstalledModel]) -> list[Entry]:
    """An entry for each; a name that models.yaml has no place for becomes an alias."""
    taken: set[str] = set()
    entries = []
    for model in models:
        tag = "" if model.tag == "latest" else f":{model.tag}"
        name = name_for([f"{model.model}{tag}", f"{model.namespace}-{model.model}{tag}"], taken)
        taken.add(key(name))
        short = model.source.removesuffix(":latest")
        source = model.source if short.lower().endswith(".gguf") else short
        entry = Entry(name, {"source": source}, [f"{words.size(model.size)}, {model.about}"])
        entries.append(entry)
    for model, entry in zip(models, entries, strict=True):
        called = model.source.removesuffix(":latest")
        if is_alias(called) and key(called) not in taken:
            entry.fields["aliases"] = [called]
            taken.add(key(called))
    return entries


def write_new(path: Path, written: str) -> None:
    """Make a file, whole at once. Raises Failed, also when there is one already."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8") as draft:
            draft.write(written)
            draft.flush()
            os.fchmod(draft.fileno(), _MODE)
            os.fsync(draft.fileno())
            os.link(draft.name, path)
    except FileExistsError as error:
        if error.filename2 is None:
            raise Failed(f"{path.parent} is no directory; `powerctl init --stdout` prints it instead") from None
        raise Failed(f"{path} exists and is not touched; `powerctl init --stdout` prints what would be in it") from None
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}; `powerctl init --stdout` prints it instead") from None
