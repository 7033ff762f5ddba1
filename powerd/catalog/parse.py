"""models.yaml, the whole of it: from text to a Catalog, or to everything that is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields as dataclass_fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from powerd.catalog.fields import API_VERSION, FIELDS, Field
from powerd.catalog.loader import Block, Entry, Node, Scalar, load
from powerd.catalog.problems import Problems, quote, unknown
from powerd.catalog.show import short
from powerd.catalog.spec import Catalog, Defaults, ModelSpec, Position, Problem, Require
from powerd.catalog.values import REFUSED, Reading, found
from powerd.names import Name
from powerd.options import RUNNER_FIELDS, SAMPLING_OPTIONS

_TOP = ("apiVersion", "defaults", "models")
_OF_UNDECLARED = frozenset(field.name for field in dataclass_fields(Defaults))

Values = dict[str, Any]


def parse(text: str, *, file: str, directory: Path, read_file: Callable[[Path], str]) -> Catalog:
    """The catalog that `text` declares. A file without models gives a catalog without models: the caller judges it.

    `file` names it in positions; `directory` (absolute) is where its relative paths start; `read_file` gives the text
    of a template file and raises OSError or UnicodeDecodeError.
    Raises CatalogError with every problem, and nothing else whatever `text` holds.
    """
    problems = Problems()
    root = load(text, file, problems)
    if root is None:
        problems.settle()
        return Catalog(text=text)
    top = _top_level(root, problems)
    reading = Reading(directory, read_file, problems, subject="")
    models = _Models(reading, top.get("defaults"))
    models.add_all(_block(top.get("models"), reading, "model names"))
    problems.settle()
    return Catalog(
        models=MappingProxyType(models.specs),
        defaults=Defaults(
            **_typed({name: models.defaults[name] for name in models.defaults if name in _OF_UNDECLARED})
        ),
        warnings=tuple(dict.fromkeys(models.warnings)),
        text=text,
        files=tuple(reading.files),
    )


def _top_level(root: Node, problems: Problems) -> dict[str, Entry]:
    """The known top-level entries. Raises CatalogError where the rest of the file cannot be judged."""
    if not isinstance(root, Block):
        problems.add(root.at, f'the file must be a mapping that begins with "apiVersion: {API_VERSION}", {found(root)}')
        raise problems.error()
    entries = {entry.key: entry for entry in root.entries}
    _check_version(entries.get("apiVersion"), root.at, problems)
    for entry in root.entries:
        if entry.key in FIELDS:
            problems.add(entry.at, f"{quote(entry.key)} is a field of a model; it belongs under its name, under models")
        elif entry.key not in _TOP and not entry.key.startswith("x-"):
            problems.add(entry.at, unknown("key", entry.key, _TOP))
    return entries


def _check_version(entry: Entry | None, start: Position, problems: Problems) -> None:
    """A file of another version is not looked at further: its fields may mean other things."""
    if entry is None:
        problems.add(start, f'the file does not say its version; add the line "apiVersion: {API_VERSION}"')
    elif not isinstance(entry.node, Scalar) or entry.node.value != API_VERSION:
        problems.add(
            entry.node.at, f"apiVersion must be {API_VERSION}, the one this version reads, {found(entry.node)}"
        )
        raise problems.error()


def _block(entry: Entry | None, reading: Reading, holds: str) -> tuple[Entry, ...]:
    """The entries of a top-level mapping; nothing written under it counts as an empty one."""
    if entry is None or (isinstance(entry.node, Scalar) and entry.node.value is None):
        return ()
    if isinstance(entry.node, Block):
        return entry.node.entries
    reading.within(f"{entry.key}:").refuse(entry.node.at, f"must be a mapping of {holds}, {found(entry.node)}")
    return ()


class _Models:
    """The entries of one file on their way to specs, and the names they have taken."""

    def __init__(self, reading: Reading, defaults: Entry | None) -> None:
        self._reading = reading
        self._taken: dict[str, str] = {}
        self.specs: dict[str, ModelSpec] = {}
        self.warnings: list[Problem] = []
        self.defaults = self._fields(_block(defaults, reading, "fields"), reading.within("defaults:"), for_all=True)

    def add_all(self, entries: tuple[Entry, ...]) -> None:
        """Read every entry: first the names, so that an alias can be held against all of them."""
        for entry, name in [(entry, self._name(entry)) for entry in entries]:
            if name is not None:
                self._add(entry, name)

    def _name(self, entry: Entry) -> Name | None:
        model, colon, tag = entry.key.partition(":")
        reading = self._reading.within(f"model {quote(entry.key)}")
        if "/" in entry.key:
            reading.refuse(
                entry.at, "may not have a host or namespace; write NAME or NAME:TAG (an alias may have them)"
            )
            return None
        try:
            name = Name.declared(model, tag) if colon else Name.declared(model)
        except ValueError:
            reading.refuse(
                entry.at,
                "is not a model name; write NAME or NAME:TAG, each of at most 80 letters, digits, '_', '-' and '.' "
                "that begins with a letter, a digit or '_'",
            )
            return None
        self._take(f"{name.model}:{name.tag}", entry.at, "model", entry.key, reading)
        return name

    def _take(self, full: str, at: Position, kind: str, written: str, reading: Reading) -> None:
        """Give a name away once; names are compared without regard to case."""
        key = Name.parse(full).key
        if key in self._taken:
            reading.refuse(at, f"has the same name as {self._taken[key]}; change one of them")
        else:
            self._taken[key] = f"the {kind} {quote(written)} at {at}"

    def _add(self, entry: Entry, name: Name) -> None:
        reading = self._reading.within(f"{name.model if name.tag == 'latest' else name.display}:")
        if not isinstance(entry.node, Block):
            reading.refuse(entry.node.at, f"must be a mapping of fields such as source, {found(entry.node)}")
            return
        own = self._fields(entry.node.entries, reading, for_all=False)
        for alias, at in own.get("aliases", ()):
            self._take(alias.full, at, "alias", short(alias), reading.within(f" alias {quote(short(alias))}"))
        values = _merged(self.defaults, own)
        if values.get("state") != "absent" and all(written.key != "source" for written in entry.node.entries):
            reading.refuse(entry.at, 'needs "source", which says where the weights come from')
        not_yet = tuple(FIELDS[key].not_yet for key, value in values.items() if _asks_too_much(key, value))
        source = values.pop("source", "")
        spec = ModelSpec(name=name, source=source, at=entry.at, not_yet=not_yet, **_typed(values))
        self.specs[spec.display] = spec

    def _fields(self, entries: Iterable[Entry], reading: Reading, *, for_all: bool) -> Values:
        """The fields that are written and good; a problem or a warning noted for the others."""
        values: Values = {}
        for entry in entries:
            field = FIELDS.get(entry.key)
            if field is None or field.read is None or (for_all and not field.in_defaults):
                reading.refuse(entry.at, _refusal(entry.key, field))
                continue
            value = reading.within(f" {entry.key}").attempt(field.read, entry.node)
            if for_all and (entry.key, value) == ("state", "absent"):
                reading.refuse(entry.node.at, "state cannot be absent for every model; write it under models")
            elif value is not REFUSED:
                values[entry.key] = value
                if _asks_too_much(entry.key, value):
                    self.warnings.append(Problem(entry.at, f"{reading.subject} {field.not_yet}"))
        return values


def _refusal(key: str, field: Field | None) -> str:
    """Why a key may not stand here."""
    if field is not None and field.available:
        return f"{quote(key)} belongs to one model; write it under models"
    if field is not None:
        return f"{quote(key)} is reserved for a later version and not available yet; remove it"
    if key in SAMPLING_OPTIONS:
        return f'unknown key {quote(key)}; a sampling option belongs under "parameters"'
    meant = RUNNER_FIELDS.get(key)
    if meant is not None and FIELDS[meant].available:
        return f"unknown key {quote(key)}; did you mean {quote(meant)}?"
    return unknown("key", key, [field.name for field in FIELDS.values() if field.available])


def _asks_too_much(key: str, value: Any) -> bool:
    field = FIELDS[key]
    return bool(field.not_yet) and field.asks_it(value)


def _merged(defaults: Values, own: Values) -> Values:
    """A model's fields over the defaults: mappings are merged key by key, everything else is replaced."""
    both = {key for key in defaults.keys() & own.keys() if isinstance(own[key], dict)}
    return defaults | own | {key: defaults[key] | own[key] for key in both}


def _typed(values: Values) -> Values:
    """The same with the types that specs hold."""
    typed = dict(values)
    if "require" in values:
        typed["require"] = Require(**values["require"])
    if "parameters" in values:
        typed["parameters"] = MappingProxyType(values["parameters"])
    if "aliases" in values:
        typed["aliases"] = tuple(name for name, _ in values["aliases"])
    return typed
