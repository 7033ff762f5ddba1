"""What POST /api/create asks for, and the small texts that come of it: config, params, templates (pure).

Contract sections 4.3 and 2.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

from powerd import options
from powerd.catalog.template import MAX_TEMPLATE, syntax_of
from powerd.errors import BadRequest
from powerd.modelfile import ModelfileError, semver
from powerd.output.signs import PARSERS
from powerd.prompt.failed import TemplateFailed
from powerd.prompt.gotemplate.parser import parse
from powerd.reconcile.offer import OWNED_TEMPLATE
from powerd.store import manifest as m
from powerd.store.gguf import Header

_NOTHING: Mapping[str, Any] = MappingProxyType({})

#: What a config says of a model, as far as a model made from it says the same.
_INHERITED = (
    *("model_format", "model_family", "model_families", "model_type", "file_type", "renderer", "parser", "requires"),
    *("capabilities", "context_length", "embedding_length", "base_name", "draft", "architecture", "os"),
    OWNED_TEMPLATE,
)
_STRINGS = {"model_family": "model_family", "base_name": "base_name", "quantization_level": "file_type"}
#: A draft changes how fast an answer comes, never what it says.
NO_DRAFTS = "warning: the draft model is kept and not used: powerd does not speculate; answers are the same without it"
NO_REMOTE_DRAFT = "DRAFT cannot be used with remote models"
_LENGTHS = ("context_length", "embedding_length")
TEMPLATE_TYPES = frozenset({m.TEMPLATE_TYPE, m.LEGACY_TEMPLATE_TYPE, m.JINJA_TYPE})


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A model to make. `files`, `adapters` and `draft_files` are names with digests, as they were sent."""

    name: str
    base: str = ""  # `from`
    files: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    adapters: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    draft_files: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    template: str = ""
    system: str = ""
    licenses: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    messages: tuple[tuple[str, str], ...] = ()  # role, content
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    quantize: str = ""
    draft_quantize: str = ""
    info: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    @property
    def warnings(self) -> list[str]:
        """What the model will say and nothing here acts on."""
        parser = "" if self.parser in PARSERS or self.parser == "harmony" else self.parser
        unknown = [f"{what} {text!r}" for what, text in (("renderer", self.renderer), ("parser", parser)) if text]
        told = [
            f"warning: {each} is not built into powerd; it is kept and shown, and the model's own chat template is used"
            for each in unknown
        ]
        return [*told, NO_DRAFTS] if self.draft_files else told


def parameters(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The base's parameters with the given ones over them; known ones typed. Raises BadRequest naming the option."""
    merged = dict(base) | {name: value for name, value in given.items() if value is not None}
    return merged | options.check(given)


def config(
    base: Mapping[str, object], header: Header, request: CreateRequest, *, new_weights: bool
) -> dict[str, object]:
    """The config layer. `new_weights`: the base's description of them does not hold. Raises BadRequest."""
    inherited = {key: base[key] for key in _INHERITED if base.get(key)}
    described = m.describe(header)
    made = inherited | described if new_weights else described | inherited
    given = {"renderer": request.renderer, "parser": request.parser, "requires": version(request.requires)}
    if request.template and syntax_of(request.template) == "go":
        given[OWNED_TEMPLATE] = "owner"
    return made | {key: value for key, value in given.items() if value} | overrides(request.info)


def version(text: str) -> str:
    """A `requires` without its leading v. Raises BadRequest."""
    try:
        return semver(text) if text else ""
    except ModelfileError as error:
        raise BadRequest(str(error), "requires") from None


def overrides(info: Mapping[str, Any]) -> dict[str, object]:
    """The config's fields that `info` sets. Raises BadRequest naming the field."""
    made: dict[str, object] = {}
    for name, key in _STRINGS.items():
        if name in info:
            made[key] = _string(name, info[name])
    if "model_family" in made:
        made["model_families"] = [made["model_family"]]
    if "capabilities" in info:
        made["capabilities"] = _strings("capabilities", info["capabilities"])
    if "parameter_size" in info:
        size = info["parameter_size"]
        number = isinstance(size, int | float) and not isinstance(size, bool)
        made["model_type"] = (
            m.parameter_size(_count("parameter_size", size)) if number else _string("parameter_size", size)
        )
    return made | {name: _count(name, info[name]) for name in _LENGTHS if name in info}


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadRequest(f'info field "{name}" must be a string', f"info.{name}")
    return value


def _strings(name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadRequest(f'info field "{name}" must be a list of strings', f"info.{name}")
    return value


def _count(name: str, value: object) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BadRequest(f'info field "{name}" must be a number', f"info.{name}")
    if value < 0 or value != math.floor(value) or value >= 2**63:
        raise BadRequest(f'info field "{name}" must be a non-negative integer', f"info.{name}")
    return int(value)


def texts(request: CreateRequest, merged: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """The text layers, type and bytes, in Ollama's order. Raises BadRequest for a template that is none."""
    made: list[tuple[str, bytes]] = []
    if request.template:
        made.append(_template(request.template))
    if request.system:
        made.append((m.SYSTEM_TYPE, request.system.encode()))
    made += [(m.LICENSE_TYPE, text.encode()) for text in request.licenses]
    if merged:
        made.append((m.PARAMS_TYPE, msgspec.json.encode(merged, order="sorted")))
    if request.messages:
        pairs = [{"role": role, "content": content} for role, content in request.messages]
        made.append((m.MESSAGES_TYPE, msgspec.json.encode(pairs)))
    return made


def replaced(made: list[tuple[str, bytes]]) -> frozenset[str]:
    """The types of the base's layers that these take the place of; licences add up."""
    types = {media_type for media_type, _ in made} - {m.LICENSE_TYPE}
    return frozenset(types | TEMPLATE_TYPES if types & TEMPLATE_TYPES else types)


def _template(text: str) -> tuple[str, bytes]:
    """A template as the layer of its syntax: Go is parsed, of Jinja only the delimiters are looked at."""
    if len(text) > MAX_TEMPLATE:
        raise BadRequest(f"template error: longer than {MAX_TEMPLATE} characters", "template")
    if syntax_of(text) == "go":
        try:
            parse(text)
        except TemplateFailed as error:
            raise BadRequest(str(error), "template") from None
        return m.TEMPLATE_TYPE, text.encode()
    for opening, closing in (("{{", "}}"), ("{%", "%}"), ("{#", "#}")):
        _check_pairs(text, opening, closing)
    return m.JINJA_TYPE, text.encode()


def _check_pairs(text: str, opening: str, closing: str) -> None:
    """Raise BadRequest for an opening delimiter that nothing closes."""
    last = text.rfind(opening)
    if last >= 0 and text.find(closing, last) < 0:
        line = text.count("\n", 0, last) + 1
        raise BadRequest(f"template error: line {line}: {opening} is not closed by {closing}", "template")
