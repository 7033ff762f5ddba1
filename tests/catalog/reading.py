"""Reading models.yaml in tests: a catalog from text, or the problems it has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from powerd.catalog.parse import parse
from powerd.catalog.spec import Catalog, CatalogError, ModelSpec

HEAD = "apiVersion: powerd/v1\n"
DIRECTORY = Path("/etc/power")


def catalog(text: str, files: Mapping[str, str] | None = None) -> Catalog:
    """What `text` declares; `files` are the template files there are, by absolute path."""

    def read_file(path: Path) -> str:
        if str(path) not in (files or {}):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return (files or {})[str(path)]

    return parse(text, file="m.yaml", directory=DIRECTORY, read_file=read_file)


def problems(text: str, files: Mapping[str, str] | None = None) -> list[str]:
    """Everything wrong with `text`; empty when it is accepted."""
    try:
        catalog(text, files)
    except CatalogError as error:
        return [str(problem) for problem in error.problems]
    return []


def entry(fields: str) -> str:
    """A file with one model, `m`, whose fields are the lines of `fields`, from line 4 on."""
    body = "".join(f"    {line}\n" for line in fields.splitlines())
    return f"{HEAD}models:\n  m:\n{body}"


def model(fields: str, files: Mapping[str, str] | None = None) -> ModelSpec:
    """The spec of a model with `source: x` and these fields."""
    return catalog(entry(f"source: x\n{fields}"), files).models["m"]


def refused(fields: str, files: Mapping[str, str] | None = None) -> list[str]:
    """The problems of a model with these fields, which begin in line 5."""
    return problems(entry(f"source: x\n{fields}"), files)
