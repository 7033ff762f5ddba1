"""Offer: one name that can be served, with everything a request needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from powerd.catalog.spec import Overflow, RequestOptions, Require, SchedulingClass, Template
from powerd.names import Name
from powerd.output.formats import Format
from powerd.output.recognise import recognise
from powerd.prompt.choose import Brought, Chosen, GoTemplates, choose
from powerd.protocol import Deployment
from powerd.store.manifest import StoredModel


@dataclass(frozen=True, slots=True)
class Offer:
    """A servable model under one name. Immutable: a request keeps the one it started with."""

    name: Name  # what listings show
    stored: StoredModel
    deployment: Deployment
    origin: Literal["declared", "alias", "installed", "lower"]
    capabilities: tuple[str, ...]  # contract section 9
    context_source: str  # "context: of demo in models.yaml", "the default of 4096", "the model's trained context"
    system: str | None = None
    template: Template | None = None  # the owner's; None = what the model brings, see `chosen`
    go_templates: GoTemplates = "auto"  # whether a pulled model's is used beside the Jinja one of its GGUF
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    messages: tuple[tuple[str, str], ...] = ()
    adapters: tuple[tuple[str, float], ...] = ()  # what its requests apply: digests of LoRA files, and scales
    keep_alive: float | None = None  # seconds; inf = pinned; None = the daemon's default
    priority: int = 0
    overflow: Overflow = "dialect"
    think: bool | str | None = None  # where the request is silent; None = yes, if the model can
    require: Require = field(default_factory=Require)
    choices: tuple[str, ...] = ()  # what was decided where nobody said, and why
    request_options: RequestOptions = "declared"  # what a request's runner options may change
    scheduling_class: SchedulingClass = "interactive"
    target: Name | None = None  # alias: the declared name it stands for

    @property
    def chosen(self) -> Chosen:
        """The template that requests are rendered with."""
        return chosen(self.stored, self.template, self.go_templates)

    @property
    def format(self) -> Format:
        """How the model writes what `chosen` asks of it."""
        return format_of(self.stored, self.chosen)

    @property
    def forgets(self) -> bool:
        """Whether thoughts in the text of earlier answers are taken out (contract section 8.1)."""
        return self.stored.header.architecture == "qwen3" or self.name.model.lower() == "deepseek-r1"

    @property
    def pinned(self) -> bool:
        """Whether only the operator may unload it."""
        return self.keep_alive == float("inf")


#: The key of a config that says whose the Go template layer is: the owner's own wins over the GGUF's template.
OWNED_TEMPLATE = "powerd_template"


def chosen(stored: StoredModel, owner: Template | None, go_templates: GoTemplates = "auto") -> Chosen:
    """The template a stored model is served with; `owner` is the one its owner wrote."""
    header, config = stored.header, stored.config
    brought = Brought(
        layer=stored.template,
        jinja=header.chat_template,
        renderer=str(config.get("renderer") or ""),
        parser=str(config.get("parser") or ""),
        end_token=header.eos_text,
        name=header.name or "",
    )
    return choose((owner.text, owner.syntax) if owner is not None else None, brought, go_templates)


def format_of(stored: StoredModel, template: Chosen) -> Format:
    """How a stored model answers to `template`."""
    family = str(stored.config.get("model_family") or "") or stored.header.architecture
    return recognise(template.text, template.syntax, str(stored.config.get("parser") or ""), family)
