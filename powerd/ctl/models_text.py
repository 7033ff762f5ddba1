"""models.yaml as text: what `powerctl init` and `powerctl import` write, and the names that entries get. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from powerd.ctl import words

API_VERSION = "powerd/v1"
_LONGEST_PART = 80
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII)
_NAME = re.compile(rf"{_PART.pattern}(?::{_PART.pattern})?", re.ASCII)
_ALIAS = re.compile(
    rf"(?:(?:[A-Za-z0-9_][A-Za-z0-9_.:-]{{0,349}}/)?[A-Za-z0-9_][A-Za-z0-9_-]{{0,79}}/)?{_NAME.pattern}", re.ASCII
)
#: What can stand in YAML without quotes and is text for certain.
_BARE = re.compile(r"(?:[A-Za-z_]|(?:~|\.{0,2})/[A-Za-z0-9_])(?:[A-Za-z0-9_./:-]*[A-Za-z0-9_])?", re.ASCII)
_WORDS = {"true", "false", "null"}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


@dataclass(slots=True)
class Entry:
    """One model: its fields in the order they are written, and what is said above it."""

    name: str
    fields: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def text(head: Iterable[str], entries: Sequence[Entry]) -> str:
    """A whole models.yaml; `head` is its first comment."""
    lines = [*map(_comment, head), f"apiVersion: {API_VERSION}", "models:"]
    for entry in entries:
        lines += ["", *(f"  {_comment(note)}" for note in entry.notes), f"  {scalar(entry.name)}:"]
        for key, value in entry.fields.items():
            lines += _field(key, value)
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    indent = text[: len(text) - len(text.lstrip(" "))]
    return f"# {indent}{words.plain(text)}".rstrip()


def _field(key: str, value: object) -> list[str]:
    if isinstance(value, str) and "\n" in value and _as_block(value):
        mark = "|" if value.endswith("\n") else "|-"
        return [f"    {key}: {mark}", *(f"      {line}".rstrip() for line in value.removesuffix("\n").split("\n"))]
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        return [f"    {key}:", *(f"      - {scalar(each)}" for each in value)]
    return [f"    {key}: {scalar(value)}"]


def _as_block(value: str) -> bool:
    """Whether a block of lines holds the text exactly."""
    lines = value.removesuffix("\n").split("\n")
    ragged = any(line != line.rstrip() or "\t" in line[:1] for line in lines)
    return bool(lines[0]) and bool(lines[-1]) and lines[0][0] != " " and not ragged and not _CONTROL.search(value)


def scalar(value: object) -> str:
    """A value on one line: bare where that is safe, else as JSON, which YAML reads alike."""
    if isinstance(value, str) and _BARE.fullmatch(value) and value.lower() not in _WORDS and ":/" not in value:
        return value
    if isinstance(value, str) and value.startswith("https://") and re.fullmatch(r"[\w./:%-]+", value, re.ASCII):
        return value
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {_inner(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inner, value)) + "]"
    return _quoted(value)


def _inner(value: object) -> str:
    """A value inside brackets, where a text is always in quotes."""
    return _quoted(value) if isinstance(value, str) else scalar(value)


def _quoted(value: object) -> str:
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def name_for(wanted: Sequence[str], taken: Collection[str]) -> str:
    """The first of these that can name a model and is free, mended where it must be, numbered as a last resort.

    `taken` holds keys as key() makes them.
    """
    mended = [mend(each) for each in wanted]
    for each in mended:
        if key(each) not in taken:
            return each
    stem, _, tag = mended[-1].partition(":")
    number = 2
    while key(name := f"{stem[: _LONGEST_PART - 6]}-{number}" + (f":{tag}" if tag else "")) in taken:
        number += 1
    return name


def mend(name: str) -> str:
    """The name with what the grammar has no place for replaced."""
    if _NAME.fullmatch(name):
        return name.removesuffix(":latest")
    model, _, tag = name.partition(":")
    parts = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part).lstrip("-.")[:_LONGEST_PART] for part in (model, tag)]
    return (parts[0] or "model") + (f":{parts[1]}" if parts[1] not in {"", "latest"} else "")


def key(name: str) -> str:
    """What two spellings of one name have in common."""
    plain = name.lower()
    return plain if ":" in plain.rpartition("/")[2] else f"{plain}:latest"


def is_alias(name: str) -> bool:
    """Whether clients may call a model this."""
    return bool(_ALIAS.fullmatch(name)) and not name.lower().startswith("powerd.local/")
