"""The whole configuration: from the texts of its files to a Catalog, or to everything that is wrong with it. Pure.

models.yaml and the fragments beside it (`models.d/*.yaml`, in the order of their names) have one grammar, and their
models come together by name. Only models.yaml may hold `defaults:`, which apply to all of them. A name that two files
give away is an error, as it is within one file: what a model is must not depend on which file is read last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from types import MappingProxyType

from powerd.catalog.entries import Models, Section
from powerd.catalog.fields import API_VERSION, FIELDS
from powerd.catalog.loader import Block, Caps, Entry, Node, Scalar, load
from powerd.catalog.problems import Problems, quote, unknown
from powerd.catalog.spec import Catalog, CatalogError, Defaults, Position
from powerd.catalog.values import Reading, found
from powerd.paths import is_fragment

_TOP = ("apiVersion", "defaults", "models")
_OF_UNDECLARED = frozenset(field.name for field in dataclass_fields(Defaults))

#: The text of a template file; raises OSError or ValueError where there is none.
ReadFile = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class _File:
    """One text to read as part of a catalog."""

    name: str  # in positions
    directory: Path  # relative paths start here
    text: str
    main: str  # the file that may hold the defaults


def parse(text: str, *, file: str, directory: Path, read_file: ReadFile) -> Catalog:
    """The catalog that one text declares. A file without models gives a catalog without models: the caller judges it.

    `file` names it in positions; `directory` (absolute) is where its relative paths start; `read_file` gives the text
    of a template file and raises OSError or UnicodeDecodeError.
    Raises CatalogError with every problem, and nothing else whatever `text` holds.
    """
    return _parse([_File(file, directory, text, file)], read_file, Caps())


def _absent(path: Path) -> str:
    raise FileNotFoundError(2, "not among the documents kept with the generation", str(path))


def parse_files(documents: Mapping[str, str], *, file: str, read_file: ReadFile = _absent) -> Catalog:
    """The catalog that models.yaml at `file` and its fragments declare, any of which may be missing.

    `documents` holds their texts by absolute path, and may hold those of template files: what it holds is not read
    again, so `Catalog.documents` gives the same catalog without any disk. Relative paths start at the directory of
    the file that they stand in. Raises CatalogError as `parse` does, the problems in the order of the files.
    """
    main = Path(file)
    names = [path for path in (file,) if path in documents]
    names += sorted(path for path in documents if is_fragment(Path(path), main))
    files = [_File(name, Path(name).parent, documents[name], file) for name in names]

    def from_documents(path: Path) -> str:
        return documents[str(path)] if str(path) in documents else read_file(path)

    caps = Caps("models.yaml and models.d together" if len(files) > 1 else "the file")
    return _parse(files, from_documents, caps)


def _parse(files: Sequence[_File], read_file: ReadFile, caps: Caps) -> Catalog:
    problems = Problems([file.name for file in files])
    models, templates, sections = Models(), dict[Path, str](), list[Section]()
    for file in files:
        top = _top_level(file, problems, caps, alone=len(files) == 1)
        reading = Reading(file.directory, read_file, problems, subject="", files=templates)
        if file.name == file.main:
            models.set_defaults(_block(top.get("defaults"), reading, "fields"), reading)
        sections.append(Section(_block(top.get("models"), reading, "model names"), reading))
    models.add_all(sections)
    problems.settle()
    texts = {file.name: file.text for file in files} | {str(path): text for path, text in templates.items()}
    return Catalog(
        models=MappingProxyType(models.specs),
        defaults=Defaults(**{name: value for name, value in models.defaults.items() if name in _OF_UNDECLARED}),
        warnings=tuple(dict.fromkeys(models.warnings)),
        documents=MappingProxyType(texts),
        files=tuple(templates),
    )


def _top_level(file: _File, problems: Problems, caps: Caps, *, alone: bool) -> dict[str, Entry]:
    """The top-level entries of one file; none of one that cannot be judged further, a problem noted.

    Raises CatalogError where no other file can be judged either.
    """
    if not alone and not file.text.strip():
        start = Position(file.name, 1, 1)
        problems.add(start, "the file is empty, which may be half of an edit; write its models or delete it")
        return {}
    try:
        root = load(file.text, file.name, problems, caps)
    except CatalogError:
        if problems.full or caps.passed:
            raise
        return {}
    return _known_entries(root, file, problems) if root is not None else {}


def _known_entries(root: Node, file: _File, problems: Problems) -> dict[str, Entry]:
    if not isinstance(root, Block):
        problems.add(root.at, f'the file must be a mapping that begins with "apiVersion: {API_VERSION}", {found(root)}')
        return {}
    entries = {entry.key: entry for entry in root.entries}
    if not _has_our_version(entries.get("apiVersion"), root.at, problems):
        return {}
    for entry in root.entries:
        if entry.key == "defaults" and file.name != file.main:
            problems.add(entry.at, f'"defaults" hold for the models of every file: move them to {file.main}')
        elif entry.key in FIELDS:
            problems.add(entry.at, f"{quote(entry.key)} is a field of a model; it belongs under its name, under models")
        elif entry.key not in _TOP and not entry.key.startswith("x-"):
            problems.add(entry.at, unknown("key", entry.key, _TOP))
    return entries


def _has_our_version(entry: Entry | None, start: Position, problems: Problems) -> bool:
    """Whether the file can be looked at further: in another version its fields may mean other things."""
    if entry is None:
        problems.add(start, f'the file does not say its version; add the line "apiVersion: {API_VERSION}"')
    elif not isinstance(entry.node, Scalar) or entry.node.value != API_VERSION:
        problems.add(
            entry.node.at, f"apiVersion must be {API_VERSION}, the one this version reads, {found(entry.node)}"
        )
        return False
    return True


def _block(entry: Entry | None, reading: Reading, holds: str) -> tuple[Entry, ...]:
    """The entries of a top-level mapping; nothing written under it counts as an empty one."""
    if entry is None or (isinstance(entry.node, Scalar) and entry.node.value is None):
        return ()
    if isinstance(entry.node, Block):
        return entry.node.entries
    reading.within(f"{entry.key}:").refuse(entry.node.at, f"must be a mapping of {holds}, {found(entry.node)}")
    return ()
