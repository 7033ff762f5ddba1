"""What reading a foreign file gives: entries, and what was said of the file as a whole. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from powerd.ctl.foreign.bounds import prune
from powerd.ctl.models_text import Entry, is_alias, key, name_for


class Unreadable(ValueError):
    """The text is not what it was taken for; the message says why."""


@dataclass(slots=True)
class Document:
    """Everything a file came to."""

    entries: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _aliases: list[tuple[Entry, str]] = field(default_factory=list)

    def add(self, entry: Entry, wanted: str, aliases: Sequence[str] = ()) -> None:
        """Take an entry in under the name that is wanted, or one like it; the wanted one is then an alias."""
        prune(entry)
        entry.name = name_for([wanted], self._taken)
        self._taken.add(key(entry.name))
        self._aliases += [(entry, each) for each in (wanted, *aliases)]
        self.entries.append(entry)

    def finish(self) -> Document:
        """Give the entries their aliases, once every name is known; each name goes to one model."""
        for entry, alias in self._aliases:
            if key(alias) == key(entry.name):
                continue
            if not is_alias(alias):
                entry.notes.append(f"not carried over: the name {alias} (a model cannot be called this)")
            elif key(alias) in self._taken:
                entry.notes.append(f"not carried over: the name {alias} (another model has it)")
            else:
                self._taken.add(key(alias))
                listed = entry.fields.setdefault("aliases", [])
                assert isinstance(listed, list)
                listed.append(alias)
        return self
