"""What models.yaml says, as values: the Catalog and its ModelSpecs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from powerd.digest import Digest
from powerd.names import Name

#: `keep_alive: always`: pinned, never unloaded while it is declared.
ALWAYS = math.inf
#: Default seconds an idle model stays loaded (contract section 10).
DEFAULT_KEEP_ALIVE = 300.0

State = Literal["loaded", "available", "absent"]
Overflow = Literal["dialect", "reject", "truncate", "shift"]
CellType = Literal["f16", "q8_0", "q4_0"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong (or worth a warning) in a file, with where it stands and what to do."""

    at: Position
    message: str

    def __str__(self) -> str:
        return f"{self.at}: {self.message}"


class CatalogError(ValueError):
    """The file is refused; `problems` holds everything wrong with it, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Require:
    """What must be true of the running model, else it is refused."""

    gpu: bool = False
    full_offload: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """The owner's template; its text is already read from the file it may have come from."""

    text: str
    syntax: Literal["jinja", "go"]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter and its weight."""

    source: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One entry under `models:`, defaults merged in; `None` stands for `auto`."""

    name: Name  # powerd.local/declared/<model>/<tag>
    source: str  # as written; relative paths already made absolute against the file's directory
    at: Position
    state: State = "available"
    quantization: str | None = None
    digest: Digest | None = None
    gpu_layers: int | Literal["all"] | None = None
    context: int | None = None  # tokens per sequence
    parallel: int | None = None
    kv_cache: CellType | None = None
    keep_alive: float | None = None  # seconds; ALWAYS = pinned; None = the daemon's default
    priority: int = 0
    aliases: tuple[Name, ...] = ()
    overflow: Overflow = "dialect"
    require: Require = Require()
    think: bool | str | None = None  # None = auto
    system: str | None = None
    template: Template | None = None
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # checked by powerd.options
    messages: tuple[tuple[str, str], ...] = ()  # (role, content)
    adapters: tuple[Adapter, ...] = ()
    draft: str | None = None
    not_yet: tuple[str, ...] = ()  # sentences naming what this entry asks that this version cannot do

    @property
    def display(self) -> str:
        """The name people see: without the tag where it is `latest`."""
        return self.name.model if self.name.tag == "latest" else self.name.display


@dataclass(frozen=True, slots=True)
class Defaults:
    """The `defaults:` block as it applies to models no entry declares."""

    keep_alive: float | None = None
    gpu_layers: int | Literal["all"] | None = None
    context: int | None = None
    parallel: int | None = None
    kv_cache: CellType | None = None
    overflow: Overflow = "dialect"
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    system: str | None = None
    priority: int = 0
    require: Require = Require()


@dataclass(frozen=True, slots=True)
class Catalog:
    """One accepted models.yaml: the wanted state of every model it names. Holding none is for the caller to judge."""

    models: Mapping[str, ModelSpec] = field(default_factory=lambda: MappingProxyType({}))  # by ModelSpec.display
    defaults: Defaults = Defaults()
    warnings: tuple[Problem, ...] = ()
    text: str = ""  # the bytes it was read from, kept with the generation
    files: tuple[Path, ...] = ()  # template files whose text is part of it
