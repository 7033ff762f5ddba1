"""JSON schemas as they may become part of a grammar: checked within limits, and bounded. Pure.

What comes out says the same as what went in, for a writer who should also come to an end: numbers have a bounded
count of digits, an object with named properties has no others unless it says so (as llama.cpp reads it), a value of
any kind nests at most `_ANY_DEPTH` deep. What a grammar cannot enforce is refused by name; what only describes is
left out. The order of properties is kept: it is the order in which they are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from itertools import islice
from typing import Any

from powerd.errors import BadRequest
from powerd.output.grammars import endless, schema_values
from powerd.output.grammars.schema_values import Fault, Limits

#: What reliability row S46 allows, and what still compiles in milliseconds.
_LARGEST = 64 * 1024
_MOST_REFERENCES = 256
_ANY_DEPTH = 12

_UNSUPPORTED = (
    *("not", "if", "then", "else", "contains", "minContains", "maxContains", "unevaluatedItems"),
    *("dependencies", "dependentRequired", "dependentSchemas", "$dynamicRef", "$recursiveRef"),
)
_KINDS = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_JOINING = ("$ref", "allOf", "anyOf", "oneOf")


def checked(schema: object, param: str = "format") -> dict[str, Any]:
    """The schema, bounded, for `grammar`. Raises BadRequest (naming `param`) for one that cannot be enforced."""
    try:
        return _Reading(schema).whole()
    except Fault as fault:
        raise BadRequest(f"{param}: the JSON schema {fault}", param) from fault


def arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's `parameters`, bounded; any object where they cannot be enforced, as they do not come from the asker.

    The result is shared and not to be changed: agents send the same tools with every turn.
    """
    return _arguments(json.dumps(parameters))


@lru_cache(maxsize=1024)
def _arguments(parameters: str) -> dict[str, Any]:
    try:
        return _Reading({"type": "object", **json.loads(parameters)}, strict=False).whole()
    except Fault:
        return any_object()


@cache
def any_object() -> dict[str, Any]:
    """The schema of any JSON object. Shared, and not to be changed."""
    return _Reading({"type": "object"}).whole()


class _Reading:
    """One pass over a schema from a request."""

    def __init__(self, schema: object, *, strict: bool = True) -> None:
        self._root = schema
        self._strict = strict
        self._limits = Limits()
        self._names: dict[str, str] = {}  # JSON pointer -> name of its definition
        self._waiting: list[str] = []
        self._definitions: dict[str, Any] = {}
        self._any = False
        self._joined = False  # parts are said of one object in several places: none of them may close it
        if isinstance(schema, dict):
            self._joined = _joins(schema, self._limits.depth)

    def whole(self) -> dict[str, Any]:
        """The bounded schema. Raises Fault."""
        if not isinstance(self._root, dict):
            raise Fault(f"must be an object, not {schema_values.kind(self._root)}")
        root = self._node(self._root, "#", 0)
        made: dict[str, Any] = {} if root is True else root
        while self._waiting:
            pointer = self._waiting.pop()
            self._definitions[self._names[pointer]] = self._node(self._target(pointer), pointer, 0)
        endless.refuse(made, self._definitions)
        if self._any:
            self._definitions |= _anything()
        if self._definitions:
            made = {"$defs": self._definitions, **made}
        if len(json.dumps(made)) > _LARGEST:
            raise Fault(f"is larger than {_LARGEST // 1024} KiB")
        return made

    # ------------------------------------------------------------ one schema

    def _node(self, schema: object, where: str, depth: int) -> Any:
        self._limits.node(where, depth)
        if schema is False:
            return False
        if schema is True or schema == {}:
            return self._anything()
        if not isinstance(schema, dict):
            raise Fault(f"has {schema_values.kind(schema)} at {where}, where a schema belongs")
        self._refuse_unsupported(schema, where)
        if "const" in schema or "enum" in schema:
            return self._limits.values(schema, where)
        made: dict[str, Any] = {}
        for keyword in schema:
            if keyword in _JOINING:
                self._join(made, keyword, schema[keyword], where, depth)
        kind = _kind(schema, joined=bool(made))
        if kind is not None:
            made["type"] = kind
            self._of_kind(made, schema, kind, where, depth)
        return made or self._anything()

    def _of_kind(self, made: dict[str, Any], schema: dict[str, Any], kind: Any, where: str, depth: int) -> None:
        """Add what is said of each kind of value this may be."""
        kinds = [kind] if isinstance(kind, str) else schema_values.kinds(kind, where)
        schema_values.refuse_unknown(kinds, where)
        if "string" in kinds:
            made.update(self._limits.string(schema, where))
        if "integer" in kinds or "number" in kinds:
            made.update(schema_values.number(schema, whole="number" not in kinds, where=where))
        if "array" in kinds:
            self._array(made, schema, where, depth)
        if "object" in kinds:
            self._object(made, schema, where, depth)

    def _join(self, made: dict[str, Any], keyword: str, value: object, where: str, depth: int) -> None:
        if keyword == "$ref":
            made["$ref"] = self._reference(value, where)
            return
        if not isinstance(value, list) or not value:
            raise Fault(f"needs a list of schemas in {keyword} at {where}")
        parts = [self._node(part, f"{where}/{keyword}/{number}", depth + 1) for number, part in enumerate(value)]
        name = "anyOf" if keyword == "oneOf" else keyword
        if name in made:
            made["allOf"] = [*made.get("allOf", []), {name: parts}]
        else:
            made[name] = parts

    def _array(self, made: dict[str, Any], schema: dict[str, Any], where: str, depth: int) -> None:
        items, prefix = schema.get("items"), schema.get("prefixItems")
        if isinstance(items, list):  # drafts before 2020-12
            prefix, items = items, schema.get("additionalItems")
        if prefix is not None:
            if not isinstance(prefix, list):
                raise Fault(f"needs a list of schemas in prefixItems at {where}")
            made["prefixItems"] = [
                self._node(part, f"{where}/prefixItems/{number}", depth + 1) for number, part in enumerate(prefix)
            ]
        made["items"] = self._anything() if items is None else self._node(items, f"{where}/items", depth + 1)
        made.update(self._limits.counts(schema, ("minItems", "maxItems"), where))

    def _object(self, made: dict[str, Any], schema: dict[str, Any], where: str, depth: int) -> None:
        for keyword in ("properties", "patternProperties"):
            named = self._limits.named(schema.get(keyword, {}), keyword, where)
            if keyword == "patternProperties":
                for pattern in named:
                    schema_values.pattern(pattern, where)
            if named:
                made[keyword] = {
                    name: self._node(part, f"{where}/{keyword}/{name}", depth + 1) for name, part in named.items()
                }
        self._others(made, schema, where, depth)
        required = self._limits.required(schema.get("required", []), where)
        if required:
            made["required"] = required
            if made.get("additionalProperties") is False and "patternProperties" not in made:
                listed = made.setdefault("properties", {})
                for name in required:
                    listed.setdefault(name, self._anything())
        made.update(self._limits.counts(schema, ("minProperties", "maxProperties"), where))

    def _others(self, made: dict[str, Any], schema: dict[str, Any], where: str, depth: int) -> None:
        """Properties without a name of their own: none beside named ones, unless the schema says so."""
        others = schema.get("additionalProperties")
        if others is not None:
            made["additionalProperties"] = self._node(others, f"{where}/additionalProperties", depth + 1)
        elif not self._joined:
            named = "properties" in schema or "patternProperties" in made
            made["additionalProperties"] = False if named else self._anything()

    # ------------------------------------------------------------ references, refusals

    def _anything(self) -> Any:
        """A value of any kind. Where parts are joined it stays open, as the engine then has less to intersect."""
        if self._joined:
            return True
        self._any = True
        return {"$ref": "#/$defs/any0"}

    def _reference(self, pointer: object, where: str) -> str:
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            raise Fault(f"refers at {where} to {json.dumps(pointer)[:80]}; only references within it (#/…) can be used")
        if pointer not in self._names:
            if len(self._names) == _MOST_REFERENCES:
                raise Fault(f"refers to more than {_MOST_REFERENCES} definitions")
            self._target(pointer)
            self._names[pointer] = f"part{len(self._names)}"
            self._waiting.append(pointer)
        return f"#/$defs/{self._names[pointer]}"

    def _target(self, pointer: str) -> object:
        found: object = self._root
        for step in pointer.split("/")[1:]:
            name = schema_values.unescaped(step)
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and len(name) < 6 and int(name) < len(found):
                found = found[int(name)]
            else:
                raise Fault(f"refers to {pointer[:80]}, which is not in it")
        return found

    def _refuse_unsupported(self, schema: dict[str, Any], where: str) -> None:
        """Raises Fault for what would narrow the answer and cannot be enforced."""
        if not self._strict:
            return
        found = [keyword for keyword in _UNSUPPORTED if keyword in schema]
        found += [keyword for keyword in ("uniqueItems",) if schema.get(keyword) is True]
        found += ["unevaluatedProperties"] if schema.get("unevaluatedProperties", True) is not True else []
        found += ["propertyNames"] if schema.get("propertyNames", {}) not in ({}, True, {"type": "string"}) else []
        if found:
            raise Fault(f"uses {', '.join(found)} at {where}, which powerd cannot enforce; leave it out")


def _kind(schema: dict[str, Any], *, joined: bool) -> Any:
    """The type a schema names, else the one its keywords speak of. None = it says nothing of itself."""
    if "type" in schema:
        return schema["type"]
    for kind, keywords in _KINDS.items():
        if any(keyword in schema for keyword in keywords):
            return None if joined and kind != "object" else kind
    return None


def _joins(schema: object, deepest: int) -> bool:
    """Whether anywhere several schemas speak of one object."""
    waiting = [(schema, 0)]
    seen = 0
    while waiting and seen < Limits.nodes:
        part, depth = waiting.pop()
        seen += 1
        if isinstance(part, list):
            waiting += [(inner, depth + 1) for inner in _some(part)] if depth < 2 * deepest else []
        elif isinstance(part, dict):
            joining = sum(keyword in part for keyword in _JOINING)
            if "allOf" in part or joining > 1 or (joining and any(keyword in part for keyword in _KINDS["object"])):
                return True
            waiting += [(inner, depth + 1) for inner in _some(part.values())] if depth < 2 * deepest else []
    return False


def _some(parts: Iterable[Any]) -> list[Any]:
    return list(islice(parts, Limits.nodes))


def _anything() -> dict[str, Any]:
    """Definitions of a value of any kind, each a level further down."""
    plain: list[Any] = [{"type": kind} for kind in ("string", "boolean", "null")]
    plain.append({"type": "number", **schema_values.number({}, whole=False, where="#")})
    levels = {}
    for level in range(_ANY_DEPTH):
        deeper = {"$ref": f"#/$defs/any{level + 1}"}
        nested = [{"type": "object", "additionalProperties": deeper}, {"type": "array", "items": deeper}]
        levels[f"any{level}"] = {"anyOf": [*nested, *plain]}
    levels[f"any{_ANY_DEPTH}"] = {"anyOf": plain}
    return levels
