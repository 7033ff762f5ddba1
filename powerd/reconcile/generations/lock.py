"""models.lock.yaml: what each source of models.yaml gave, pinned by digest. Reading, writing and checking it. Pure.

`powerctl lock` writes it beside models.yaml, whence it goes into version control. While it is there, a source that has
an entry is fetched at the entry's revision and must give the entry's digest; `locked: true` refuses sources that have
none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from powerd.catalog.fields import API_VERSION
from powerd.catalog.loader import Block, Entry, Node, Scalar, load
from powerd.catalog.problems import Problems, quote, unknown
from powerd.catalog.show import redacted
from powerd.catalog.spec import Catalog, ModelSpec
from powerd.digest import Digest
from powerd.reconcile.generations.records import Resolved

_HEAD = """\
# What each source of models.yaml gave, written by `powerctl lock`. Keep it beside models.yaml.
"""
_KEYS = ("source", "quantization", "digest", "revision")


@dataclass(frozen=True, slots=True)
class Locked:
    """One model's entry. `digest` is of what is fetched, `revision` the source's own word for it."""

    source: str
    digest: str
    quantization: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file as it was read."""

    models: Mapping[str, Locked] = field(default_factory=lambda: MappingProxyType({}))

    def entry(self, spec: ModelSpec, directory: Path) -> Locked | None:
        """The entry that holds for a model: the one of its name, made of the very source it has now."""
        entry = self.models.get(spec.display)
        if entry is None or (entry.source, entry.quantization) != (written(spec, directory), spec.quantization or ""):
            return None
        return entry

    def refusals(self, catalog: Catalog, directory: Path) -> list[str]:
        """Why `--locked` refuses a catalog, a sentence for each model; empty when every source has its entry."""
        return [
            f'model "{name}": {self._refusal(spec, directory)}; run `powerctl lock` where it may be taken in'
            for name, spec in catalog.models.items()
            if spec.state != "absent" and self._refusal(spec, directory)
        ]

    def _refusal(self, spec: ModelSpec, directory: Path) -> str:
        entry = self.models.get(spec.display)
        if entry is None:
            return f"its source {redacted(spec.source)} is not in models.lock.yaml"
        if self.entry(spec, directory) is None:
            return f"models.lock.yaml has it of {entry.source} {entry.quantization}".rstrip()
        if spec.digest is not None and str(spec.digest) != entry.digest:
            return f"its digest is {spec.digest.short} and models.lock.yaml says {Digest.parse(entry.digest).short}"
        return ""


def lock_path(models: Path) -> Path:
    """Where the lock of a models.yaml lies: `models.lock.yaml` beside it."""
    return models.with_name(f"{models.stem}.lock.yaml")


def written(spec: ModelSpec, directory: Path) -> str:
    """A source as the lock names it: files below the directory of models.yaml relative to it, and without secrets."""
    inside = spec.source.removeprefix(f"{directory}/")
    return redacted(spec.source) if inside == spec.source else f"./{inside}"


def make(catalog: Catalog, resolved: Mapping[str, Resolved], directory: Path) -> Lock:
    """The lock of a generation: an entry for every model whose source has given something."""
    return Lock(
        {
            name: Locked(written(spec, directory), one.origin, one.quantization, one.revision)
            for name, spec in sorted(catalog.models.items())
            if spec.state != "absent" and (one := resolved.get(name)) is not None
        }
    )


def show(lock: Lock) -> str:
    """The text of a lock file."""
    lines = [_HEAD, f"apiVersion: {API_VERSION}\n", "models:\n" if lock.models else "models: {}\n"]
    for name, entry in lock.models.items():
        lines.append(f"  {_quoted(name)}:\n")
        values = {key: getattr(entry, key) for key in _KEYS}
        lines += [f"    {key}: {_quoted(value)}\n" for key, value in values.items() if value]
    return "".join(lines)


def _quoted(text: str) -> str:
    """A double-quoted scalar; what YAML would fold or refuse is escaped."""
    plain = (letter if " " <= letter <= "~" and letter not in '"\\' else f"\\U{ord(letter):08x}" for letter in text)
    return f'"{"".join(plain)}"'


def parse(text: str, file: str) -> Lock:
    """Read a lock file; an empty text is an empty lock. Raises CatalogError with every problem."""
    problems = Problems()
    root = load(text, file, problems)
    problems.settle()
    if root is None:
        return Lock()
    models: dict[str, Locked] = {}
    for entry in _entries(root, "models.lock.yaml", problems):
        if entry.key == "apiVersion":
            if not isinstance(entry.node, Scalar) or entry.node.value != API_VERSION:
                problems.add(entry.node.at, f"apiVersion must be {API_VERSION}")
        elif entry.key != "models":
            problems.add(entry.at, unknown("key", entry.key, ("apiVersion", "models")))
        else:
            models = {one.key: _locked(one, problems) for one in _entries(entry.node, "models", problems)}
    problems.settle()
    return Lock(models)


def _entries(node: Node, what: str, problems: Problems) -> tuple[Entry, ...]:
    if not isinstance(node, Block):
        problems.add(node.at, f"{what} must be a mapping")
        return ()
    return node.entries


def _locked(entry: Entry, problems: Problems) -> Locked:
    said = {one.key: one for one in _entries(entry.node, f"the entry of {quote(entry.key)}", problems)}
    values: dict[str, str] = {}
    for key, one in said.items():
        if key not in _KEYS:
            problems.add(one.at, unknown("key", key, _KEYS))
        elif not isinstance(one.node, Scalar) or not isinstance(one.node.value, str):
            problems.add(one.node.at, f"{key} must be a text")
        else:
            values[key] = one.node.value
    for key in ("source", "digest"):
        if isinstance(entry.node, Block) and key not in said:
            problems.add(entry.at, f'the entry of {quote(entry.key)} needs "{key}"')
    try:
        Digest.parse(values.get("digest", "sha256:" + "0" * 64))
    except ValueError:
        problems.add(said["digest"].node.at, "digest must be sha256: and 64 hexadecimal digits")
    return Locked(
        values.get("source", ""), values.get("digest", ""), values.get("quantization", ""), values.get("revision", "")
    )
