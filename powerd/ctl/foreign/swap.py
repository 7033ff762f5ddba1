"""llama-swap's config.yaml: a command of llama-server for each model. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from powerd.ctl.foreign.document import Document, Unreadable
from powerd.ctl.foreign.flags import Flag, flags, name_of
from powerd.ctl.foreign.preset import server_arguments, words_of
from powerd.ctl.foreign.server import made_of
from powerd.ctl.models_text import Entry

_MACRO = re.compile(r"\$\{([A-Za-z0-9_.-]+)\}")
_DEPTH = 16
_MAX_COMMAND = 1 << 20
_PORT = "${PORT}"  # llama-swap's own choice, of which nothing is to be said
#: Request parameters that are sampling options of models.yaml, by the name they have there.
_PARAMETERS: Mapping[str, str] = {
    **{name: name for name in ("temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "seed")},
    **{name: name for name in ("repeat_penalty", "presence_penalty", "frequency_penalty", "stop")},
    "max_tokens": "num_predict",
}
_NO_FIELD = "models.yaml has no field for it"
_WHOLE: Mapping[str, str] = {
    "groups": "powerd loads side by side what fits, and evicts by priority and use",
    "matrix": "powerd loads side by side what fits, and evicts by priority and use",
    "apiKeys": "who may ask is powerd.yaml's to say",
    "peers": "powerd serves no other servers' models",
    "healthCheckTimeout": "that is load_timeout in powerd.yaml",
    "logLevel": "that is log.level in powerd.yaml",
}
_OF_MODEL: Mapping[str, str] = {
    "proxy": "powerd serves the model itself",
    "cmdStop": "powerd ends its own runners",
    "checkEndpoint": "runners say themselves when they are ready",
    "useModelName": "powerd serves the model itself",
    "unlisted": "`hidden` is not available yet",
    "concurrencyLimit": "`parallel` is how many run at once, max_queue in powerd.yaml how many wait",
}
_KNOWN_WHOLE = {"models", "macros", "startPort", "hooks", "globalTTL"}
_KNOWN_MODEL = {"cmd", "macros", "ttl", "aliases", "filters", "env", "name", "description"}


@dataclass(slots=True)
class _Reading:
    """One file: what holds for all of its models."""

    directory: Path
    environ: Mapping[str, str]
    macros: Mapping[str, Any]
    ttl: object
    preloaded: list[str]
    document: Document = field(default_factory=Document)


def swap(text: str, directory: Path, environ: Mapping[str, str]) -> Document:
    """The models of a configuration; `environ` is what `${env.NAME}` stands for. Raises Unreadable."""
    try:
        said = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(f"not YAML: {str(error).splitlines()[0]}") from None
    models = said.get("models") if isinstance(said, dict) else None
    if not isinstance(models, dict) or not all(isinstance(each, dict) for each in models.values()):
        raise Unreadable("no configuration of llama-swap: it has no `models:` with commands")
    reading = _Reading(directory, environ, _mapping(said, "macros"), said.get("globalTTL"), _preloaded(said))
    notes = reading.document.notes
    notes += [
        f"not carried over: {key} ({_WHOLE.get(key, _NO_FIELD)})"
        for key in said
        if key not in _KNOWN_WHOLE and not str(key).startswith("x-")
    ]
    notes.append("llama-swap keeps an idle model until another needs its place; powerd unloads it after keep_alive")
    for name, model in models.items():
        _add(reading, str(name), model)
    return reading.document.finish()


def _mapping(said: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = said.get(key)
    return dict(value) if isinstance(value, dict) else {}


def _preloaded(said: Mapping[str, Any]) -> list[str]:
    names = _mapping(_mapping(said, "hooks"), "on_startup").get("preload")
    return [str(name) for name in names] if isinstance(names, list) else []


def _add(reading: _Reading, name: str, model: Mapping[str, Any]) -> None:
    command = model.get("cmd")
    macros = {**reading.macros, **_mapping(model, "macros"), "MODEL_ID": name, "PORT": _PORT}
    missing: list[str] = []
    words = words_of(_spelled_out(command if isinstance(command, str) else "", macros, reading.environ, missing))
    arguments = server_arguments(words)
    if arguments is None:
        program = words[0] if words else "nothing"
        reading.document.notes.append(f"not carried over: the model {name} (it runs {program}, not llama-server)")
        return
    found = [*_environment(model), *(flag for flag in flags(arguments) if flag.value != _PORT)]
    entry, aliases = made_of(found, reading.directory)
    if "source" not in entry.fields:
        reading.document.notes.append(f"not carried over: the model {name} (its command names no model)")
        return
    if words[0].rpartition("/")[2] in {"docker", "podman"}:
        entry.notes.append("its command runs in a container: paths are those inside it")
    entry.notes += [f"{macro} has no value here" for macro in missing]
    _rest(reading, entry, name, model)
    reading.document.add(entry, name, [*aliases, *_aliases(model, name)])


def _spelled_out(text: str, macros: Mapping[str, Any], environ: Mapping[str, str], missing: list[str]) -> str:
    """The text with its macros replaced, those inside macros too; what has no value stays and is told in `missing`.

    Raises Unreadable for macros without end.
    """
    grown = 0

    def value(match: re.Match[str]) -> str:
        nonlocal grown
        name = match[1]
        found = environ.get(name.removeprefix("env.")) if name.startswith("env.") else macros.get(name)
        if not isinstance(found, str | int | float):
            missing.append(match[0])
            return match[0]
        shown = str(found).lower() if isinstance(found, bool) else str(found)
        grown += len(shown)
        if grown > _MAX_COMMAND:
            raise Unreadable(f"the macro {match[0]} comes to more than {_MAX_COMMAND} characters")
        return shown

    for _ in range(_DEPTH):
        missing.clear()
        before, text = text, _MACRO.sub(value, text)
        if text == before:
            break
    missing[:] = dict.fromkeys(missing)
    return text


def _environment(model: Mapping[str, Any]) -> list[Flag]:
    """The variables a command is given: llama-server's own count as its flags, others are told."""
    given = model.get("env")
    pairs = [str(each).partition("=") for each in given] if isinstance(given, list) else []
    return [
        Flag(name_of(name) if name.startswith("LLAMA_ARG_") else name, value, f"{name}=") for name, _, value in pairs
    ]


def _aliases(model: Mapping[str, Any], name: str) -> list[str]:
    listed = model.get("aliases")
    names = [each.get("id") if isinstance(each, dict) else each for each in listed] if isinstance(listed, list) else []
    by_name = [key.replace("${MODEL_ID}", name) for key in _mapping(_mapping(model, "filters"), "setParamsByID")]
    return list(dict.fromkeys(str(each) for each in (*names, *by_name) if each and each != name))


def _rest(reading: _Reading, entry: Entry, name: str, model: Mapping[str, Any]) -> None:
    """What a model has besides its command."""
    for key in ("description", "name"):
        if isinstance(model.get(key), str) and model[key]:
            entry.notes.insert(0, model[key])
    ttl = model.get("ttl", -1)
    ttl = reading.ttl if ttl == -1 else ttl
    if isinstance(ttl, int) and ttl > 0:
        entry.fields["keep_alive"] = f"{ttl}s"
    if name in reading.preloaded:
        entry.fields["state"] = "loaded"
    _filters(entry, _mapping(model, "filters"))
    entry.notes += [
        f"not carried over: {key} ({_OF_MODEL.get(key, _NO_FIELD)})" for key in model if key not in _KNOWN_MODEL
    ]


def _filters(entry: Entry, filters: Mapping[str, Any]) -> None:
    parameters = entry.fields.get("parameters")
    made = dict(parameters) if isinstance(parameters, dict) else {}
    for key, value in _mapping(filters, "setParams").items():
        if key in _PARAMETERS and isinstance(value, int | float | list) and not isinstance(value, bool):
            made[_PARAMETERS[key]] = value
            entry.notes.append(f"{key}: forced on every request there, held where a request is silent here")
        else:
            entry.notes.append(f"not carried over: filters.setParams.{key} ({_NO_FIELD})")
    if made:
        entry.fields["parameters"] = made
    for key in filters:
        if key == "setParamsByID":
            entry.notes.append(
                "not carried over: filters.setParamsByID (its names are aliases here, without parameters)"
            )
        elif key != "setParams":
            entry.notes.append(f"not carried over: filters.{key} (requests keep what they ask for)")
