"""The published JSON schema of models.yaml (draft 2020-12), made of the table of fields. Pure.

Editors complete and check by it. It says what each value may be; what depends on other files, on other entries or on
how YAML is written only the parser can say, and docs/models-yaml.md lists that.
"""

from __future__ import annotations

from typing import Any

from powerd.catalog.fields import API_VERSION, FIELDS, Field
from powerd.catalog.loader import load
from powerd.catalog.problems import Problems
from powerd.catalog.values import plain
from powerd.names import MODEL_PATTERN

_AVAILABLE = tuple(field for field in FIELDS.values() if field.available)
#: Nothing written under a top-level key counts as an empty mapping.
_NOTHING = {"type": "null"}


def schema() -> dict[str, Any]:
    """The schema, as JSON values; `x-change-class` says of each field what changing it costs a running model."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "models.yaml",
        "description": "Which models a machine has, and how powerd runs each of them.",
        "type": ["object", "null"],
        "required": ["apiVersion"],
        "properties": {
            "apiVersion": {"description": "The version of the language.", "const": API_VERSION},
            "defaults": {
                "description": "What holds for every model that does not say otherwise.",
                "anyOf": [_NOTHING, {"$ref": "#/$defs/defaults"}],
            },
            "models": {
                "description": "The models, by the name clients use.",
                "anyOf": [_NOTHING, {"$ref": "#/$defs/models"}],
            },
        },
        "patternProperties": {"^x-": {"description": "Passed over: a place for anchors."}},
        "additionalProperties": False,
        "$defs": {
            "models": {
                "type": "object",
                "propertyNames": {"pattern": MODEL_PATTERN},
                "additionalProperties": {"$ref": "#/$defs/model"},
            },
            "model": _model(),
            "defaults": _mapping({field.name: _as_default(field) for field in _AVAILABLE if field.in_defaults}),
            **{field.name: _field(field) for field in _AVAILABLE},
        },
    }


def _model() -> dict[str, Any]:
    """A model needs its source, unless it says that there is to be none."""
    removed = {"properties": {"state": {"const": "absent"}}, "required": ["state"]}
    fields = {field.name: _reference(field) for field in _AVAILABLE}
    return {**_mapping(fields), "anyOf": [{"required": ["source"]}, removed]}


def _mapping(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _reference(field: Field) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{field.name}"}


def _as_default(field: Field) -> dict[str, Any]:
    never = {"not": {"const": field.never_default}} if field.never_default else {}
    return {**_reference(field), **never}


def _field(field: Field) -> dict[str, Any]:
    assert field.read is not None
    about: dict[str, Any] = {"description": field.doc, "x-change-class": field.change}
    if field.default:
        about["default"] = _value(field.default)
    return {**about, **field.read.schema}


def _value(written: str) -> Any:
    """What is written in YAML, as a value."""
    node = load(written, "default", Problems())
    assert node is not None
    return plain(node)
