"""Where each of the daemon's own options comes from: a flag, a variable, a line of powerd.yaml. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from powerd.ollama_variables import OLLAMA_VARIABLES, from_ollama
from powerd.settings import Settings


def origins(flags: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, str]) -> Mapping[str, str]:
    """By dotted key, what set it: `--listen`, `POWER_LISTEN`, `OLLAMA_HOST` or `powerd.yaml:3`.

    Keys nobody set are missing. `file` says where each key of powerd.yaml stands.
    """
    ollama = {
        path: name
        for name, path in OLLAMA_VARIABLES.items()
        if name in environ and _holds(from_ollama({name: environ[name]}), path)
    }
    found: dict[str, str] = {}
    for key in _keys(Settings):
        variable = "POWER_" + key.replace(".", "_").upper()
        if _holds(flags, key):
            found[key] = "--" + key.partition(".")[0]
        elif variable in environ:
            found[key] = variable
        elif key in ollama:
            found[key] = ollama[key]
        elif key in file:
            found[key] = file[key]
    return found


def _holds(layer: Mapping[str, object], key: str) -> bool:
    section, dot, inner = key.partition(".")
    value = layer.get(section)
    return inner in value if dot and isinstance(value, Mapping) else section in layer and not dot


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in section.model_fields.items():
        if isinstance(info.default, BaseModel):
            yield from _keys(type(info.default), f"{prefix}{name}.")
        else:
            yield prefix + name
