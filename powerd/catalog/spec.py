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
from powerd.protocol import Placement
from powerd.vectors import Pooling

#: `keep_alive: always`: pinned, never unloaded while it is declared.
ALWAYS = math.inf
#: Default seconds an idle model stays loaded (contract section 10).
DEFAULT_KEEP_ALIVE = 300.0

State = Literal["loaded", "available", "absent"]
Overflow = Literal["dialect", "reject", "truncate", "shift"]
CellType = Literal["f16", "q8_0", "q4_0"]
LoadMode = Literal["auto", "mmap", "read", "mlock"]
#: What a request's runner options may change: nothing (served as declared, said in a header), the context of an
#: automatic one upwards, or refused.
RequestOptions = Literal["declared", "grow", "reject"]
SchedulingClass = Literal["interactive", "batch"]


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
    digest: Digest | None = None  # what the file must have


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One entry under `models:`, defaults merged in; `None` stands for `auto`."""

    name: Name  # powerd.local/declared/<model>/<tag>
    source: str  # as written; relative paths already made absolute against the file's directory
    at: Position = field(compare=False)  # a model that only moved in the file is the same
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
    placement: Placement | None = None  # None = whatever the machine has
    threads: int | None = None
    batch: int | None = None  # tokens computed at once
    load_mode: LoadMode = "auto"
    flash_attention: bool | None = None
    request_options: RequestOptions | None = (
        None  # None = declared with a written `context`, grow with an automatic one
    )
    scheduling_class: SchedulingClass = "interactive"  # `class:` in the file
    pooling: Pooling | None = None  # None = as the weights say
    origins: Mapping[str, Position] = field(default_factory=lambda: MappingProxyType({}), compare=False)  # by field
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
    think: bool | str | None = None
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    system: str | None = None
    priority: int = 0
    require: Require = Require()
    placement: Placement | None = None
    threads: int | None = None
    batch: int | None = None
    load_mode: LoadMode = "auto"
    flash_attention: bool | None = None
    request_options: RequestOptions | None = None
    scheduling_class: SchedulingClass = "interactive"
    pooling: Pooling | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """One accepted configuration: the wanted state of every model it names. Holding none is for the caller to judge."""

    models: Mapping[str, ModelSpec] = field(default_factory=lambda: MappingProxyType({}))  # by ModelSpec.display
    defaults: Defaults = Defaults()
    warnings: tuple[Problem, ...] = ()
    #: Every text it was read from, by path: models.yaml, fragments, templates; it can be read again from these alone.
    documents: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    files: tuple[Path, ...] = ()  # the template files among them

    def needs(self, file: str) -> bool:
        """Whether anything in it was declared in this file."""
        written = (
            spec.at.file == file or any(at.file == file for at in spec.origins.values())
            for spec in self.models.values()
        )
        return any(written)
