"""A Modelfile as an entry of models.yaml. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from powerd.ctl.foreign.document import Document, Unreadable
from powerd.ctl.models_text import Entry
from powerd.modelfile import DEPRECATED, Build, Command, Modelfile, ModelfileError, build, parse

#: Old parameters that are sampling options all the same.
_STILL_SAMPLING: Mapping[str, type] = {"mirostat": int, "mirostat_tau": float, "mirostat_eta": float}
_NO_EFFECT = "it has no effect in powerd"
_ALL_LAYERS = 99

#: Whether a path names a file.
IsFile = Callable[[Path], bool]


def modelfile(text: str, directory: Path, name: str, is_file: IsFile) -> Document:
    """The model of a Modelfile; relative paths start at `directory`. Raises Unreadable."""
    try:
        read = parse(text)
        wanted = build(read)
    except ModelfileError as error:
        raise Unreadable(f"no Modelfile: {error}") from None
    entry = Entry(name)
    entry.fields["source"] = _place(wanted.sources[0], directory, is_file)
    entry.notes += [f"not carried over: FROM {each} (a model has one source)" for each in wanted.sources[1:]]
    _options(entry, wanted, read)
    for field in ("system", "template", "messages"):
        if field in wanted.fields:
            entry.fields[field] = wanted.fields[field]
    if wanted.adapter:
        entry.fields["adapters"] = [{"source": _place(wanted.adapter, directory, is_file)}]
    _left(entry, wanted)
    document = Document()
    document.add(entry, name)
    return document.finish()


def _place(text: str, directory: Path, is_file: IsFile) -> str:
    """What FROM or ADAPTER names: a path becomes whole, a name stays."""
    if text.startswith(("/", "~/")):
        return text
    named = text.startswith((".", "~")) or is_file(directory / text)
    return str((directory / text).resolve()) if named else text


def _left(entry: Entry, wanted: Build) -> None:
    """Say what models.yaml has no place for."""
    for name in ("license", "renderer", "parser", "requires"):
        if name in wanted.fields:
            entry.notes.append(
                f"not carried over: {name.upper()} (`source: ./Modelfile` or `powerctl create` would keep it)"
            )
    if wanted.draft:
        entry.notes.append(f"not carried over: DRAFT {wanted.draft} (draft models are not available yet)")


def _options(entry: Entry, wanted: Build, read: Modelfile) -> None:
    given = wanted.fields.get("parameters")
    options: dict[str, object] = dict(given) if isinstance(given, dict) else {}
    for command in read.commands:
        if command.name == "parameter" and command.key in DEPRECATED:
            _old(entry, options, command)
    sampling = {key: value for key, value in options.items() if not _runner(entry, key, value)}
    if sampling:
        entry.fields["parameters"] = sampling


def _old(entry: Entry, options: dict[str, object], command: Command) -> None:
    """A parameter that old Modelfiles hold."""
    kind = _STILL_SAMPLING.get(command.key)
    try:
        if kind is not None:
            options[command.key] = kind(command.value)
            return
    except ValueError:
        pass
    if command.key == "use_mlock" and command.value.lower() in {"true", "1", "t"}:
        entry.fields["load_mode"] = "mlock"
    elif command.key != "use_mlock":
        entry.notes.append(f"not carried over: PARAMETER {command.key} {command.value} ({_NO_EFFECT})")


def _runner(entry: Entry, key: str, value: object) -> bool:
    """Whether an option is one of the process, which has a field of its own."""
    fields = {"num_ctx": "context", "num_thread": "threads", "num_batch": "batch"}
    if key in fields:
        if isinstance(value, int) and value > 0:
            entry.fields[fields[key]] = value
    elif key == "num_gpu":
        if isinstance(value, int) and value >= 0:
            entry.fields["gpu_layers"] = "all" if value >= _ALL_LAYERS else value
    elif key == "use_mmap":
        entry.fields.setdefault("load_mode", "mmap" if value else "read")
    elif key == "main_gpu":
        entry.notes.append(f"not carried over: PARAMETER main_gpu {value} (placement.main is a device's id)")
    elif key == "draft_num_predict":
        entry.notes.append(f"not carried over: PARAMETER {key} {value} (draft models are not available yet)")
    else:
        return False
    return True
