"""The entries under `models:` and `defaults:` on their way to specs, and the names they give away. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from powerd.catalog.fields import FIELDS, Field
from powerd.catalog.loader import Block, Entry
from powerd.catalog.problems import quote, unknown
from powerd.catalog.show import short
from powerd.catalog.spec import ModelSpec, Position, Problem, Require
from powerd.catalog.values import REFUSED, Reading, found
from powerd.names import Name
from powerd.options import RUNNER_FIELDS, SAMPLING_OPTIONS

Values = dict[str, Any]
Origins = dict[str, Position]


class Written(NamedTuple):
    """The fields of one mapping that are good, and where each stands; the keys of merged ones as `field.key`."""

    values: Values
    origins: Origins


@dataclass(frozen=True, slots=True)
class Section:
    """The models of one file."""

    entries: tuple[Entry, ...]
    reading: Reading


class Models:
    """Every model of a configuration; a name is given away once, in whichever file."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}
        self._defaults = Written({}, {})
        self.specs: dict[str, ModelSpec] = {}
        self.warnings: list[Problem] = []

    @property
    def defaults(self) -> Values:
        """The values of the `defaults:` block, by ModelSpec's attribute and with its types."""
        return typed(self._defaults.values)

    def set_defaults(self, entries: Iterable[Entry], reading: Reading) -> None:
        """Read the block that holds for every model; before any of them is added."""
        self._defaults = self._fields(entries, reading.within("defaults:"), for_all=True)

    def add_all(self, sections: Iterable[Section]) -> None:
        """Read every entry: first the names, so that an alias can be held against all of them."""
        named = [(one, entry, self._name(entry, one.reading)) for one in sections for entry in one.entries]
        for section, entry, name in named:
            if name is not None:
                self._add(entry, name, section.reading)

    def _name(self, entry: Entry, reading: Reading) -> Name | None:
        model, colon, tag = entry.key.partition(":")
        reading = reading.within(f"model {quote(entry.key)}")
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

    def _add(self, entry: Entry, name: Name, reading: Reading) -> None:
        reading = reading.within(f"{name.model if name.tag == 'latest' else name.display}:")
        if not isinstance(entry.node, Block):
            reading.refuse(entry.node.at, f"must be a mapping of fields such as source, {found(entry.node)}")
            return
        own, places = self._fields(entry.node.entries, reading, for_all=False)
        for alias, at in own.get("aliases", ()):
            self._take(alias.full, at, "alias", short(alias), reading.within(f" alias {quote(short(alias))}"))
        values = _merged(self._defaults.values, own)
        if values.get("state") != "absent" and all(written.key != "source" for written in entry.node.entries):
            reading.refuse(entry.at, 'needs "source", which says where the weights come from')
        not_yet = tuple(FIELDS[key].not_yet for key, value in values.items() if _asks_too_much(key, value))
        origins = MappingProxyType(self._defaults.origins | places)
        spec = ModelSpec(name=name, at=entry.at, not_yet=not_yet, origins=origins, **{"source": "", **typed(values)})
        self.specs[spec.display] = spec

    def _fields(self, entries: Iterable[Entry], reading: Reading, *, for_all: bool) -> Written:
        """The fields that are written and good; a problem or a warning noted for the others."""
        written = Written({}, {})
        for entry in entries:
            field = FIELDS.get(entry.key)
            if field is None or field.read is None or (for_all and not field.in_defaults):
                reading.refuse(entry.at, _refusal(entry.key, field))
                continue
            value = reading.within(f" {entry.key}").attempt(field.read, entry.node)
            if for_all and field.never_default and value == field.never_default:
                reading.refuse(entry.node.at, f"{entry.key} cannot be {value} for every model; write it under models")
            elif value is not REFUSED:
                written.values[entry.key] = value
                written.origins.update(_places(entry, value))
                if _asks_too_much(entry.key, value):
                    self.warnings.append(Problem(entry.at, f"{reading.subject} {field.not_yet}"))
        return written


def _places(entry: Entry, value: object) -> Origins:
    """Where a field stands; of one that is merged key by key, also each key."""
    if isinstance(value, dict) and isinstance(entry.node, Block):
        return {entry.key: entry.at} | {f"{entry.key}.{inner.key}": inner.at for inner in entry.node.entries}
    return {entry.key: entry.at}


def _refusal(key: str, field: Field | None) -> str:
    """Why a key may not stand here."""
    if field is not None and field.available:
        return f"{quote(key)} belongs to one model; write it under models"
    if field is not None:
        return f"{quote(key)} is reserved for a later version and not available yet; remove it"
    if key in SAMPLING_OPTIONS:
        return f'unknown key {quote(key)}; a sampling option belongs under "parameters"'
    if meant := RUNNER_FIELDS.get(key):
        return f"unknown key {quote(key)}; did you mean {quote(meant)}?"
    return unknown("key", key, [field.name for field in FIELDS.values() if field.available])


def _asks_too_much(key: str, value: Any) -> bool:
    field = FIELDS[key]
    return bool(field.not_yet and value)


def _merged(defaults: Values, own: Values) -> Values:
    """A model's fields over the defaults: mappings are merged key by key, everything else is replaced."""
    both = {key for key in defaults.keys() & own.keys() if isinstance(own[key], dict)}
    return defaults | own | {key: defaults[key] | own[key] for key in both}


def typed(values: Mapping[str, Any]) -> Values:
    """The same by ModelSpec's attributes and with the types that specs hold."""
    held = {FIELDS[name].attribute: value for name, value in values.items()}
    if "require" in held:
        held["require"] = Require(**held["require"])
    if "parameters" in held:
        held["parameters"] = MappingProxyType(held["parameters"])
    if "aliases" in held:
        held["aliases"] = tuple(name for name, _ in held["aliases"])
    return held
