"""Strict JSON: what strangers send becomes one typed request, or a BadRequest that names the place (pure).

Python's own parser takes `NaN`, doubled keys, lone surrogates and numbers without end, and answers deep nesting with
RecursionError; none of that passes here (reliability H01 to H06). The first JSON value counts and what follows it is
ignored, and top-level keys match whatever their case, as Ollama does it (contract section 0.1).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

import msgspec

from powerd.errors import BadRequest

MAX_DEPTH = 64
MAX_VALUES = 500_000
MAX_STRINGS = 200_000
MAX_CONTAINERS = 50_000  # arrays and objects
MAX_KEYS = 10_000
MAX_KEY_LENGTH = 4096

Request = TypeVar("Request", bound=msgspec.Struct)

_SPACE = re.compile(r"[ \t\r\n]*")
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_EXPECTED = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?", re.DOTALL)
_JSON_NAMES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}
_TYPES = re.compile(r"`([\w |]+)`")
_WORD = re.compile(r"\w+")


def decode(schema: type[Request], body: bytes) -> Request:
    """`body` as a `schema`. Top-level nulls count as absent. Raises BadRequest; `param` is the field at fault."""
    value = loads(body)
    if not isinstance(value, dict):
        raise BadRequest("invalid JSON: the body must be an object")
    return convert(schema, _with_known_keys(schema, value))


def convert(schema: type[Request], value: object) -> Request:
    """A decoded value as a `schema`. Raises BadRequest naming the field."""
    try:
        return msgspec.convert(value, schema)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None


def loads(body: bytes) -> Any:
    """The first JSON value in `body`. Raises BadRequest."""
    check_shape(body)
    try:
        text = body.decode()
        start = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches the empty string
        value, _ = _DECODER.raw_decode(text, start)
        if b"\\u" in body:
            msgspec.json.encode(value)  # a surrogate without its partner cannot be written
    except UnicodeDecodeError as error:
        raise BadRequest(f"invalid JSON: the body is not UTF-8 (byte {error.start})") from None
    except UnicodeEncodeError:
        raise BadRequest("invalid JSON: a lone surrogate is not a character") from None
    except json.JSONDecodeError as error:
        raise BadRequest(f"invalid JSON: {error.msg} at character {error.pos}") from None
    except ValueError:
        raise BadRequest("invalid JSON: a number is too long") from None
    return value


def check_shape(body: bytes) -> None:
    """Bound nesting and size before anything is built. Linear, in C throughout. Raises BadRequest."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH and body.count(b",") < MAX_STRINGS:
        return
    outside = _outside_strings(body)
    brackets = outside.translate(_TO_SQUARE, _NO_BRACKETS)
    if len(brackets) > 2 * MAX_CONTAINERS:
        raise BadRequest(f"invalid JSON: more than {MAX_CONTAINERS} arrays and objects")
    if outside.count(b",") > MAX_VALUES:
        raise BadRequest(f"invalid JSON: more than {MAX_VALUES} values")
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise BadRequest(f"invalid JSON: nested deeper than {MAX_DEPTH} or not closed")


def counted(body: bytes) -> tuple[int, int]:
    """How many arrays and objects a JSON text has, and how many values at most. Raises BadRequest."""
    outside = _outside_strings(body)
    containers = outside.count(b"[") + outside.count(b"{")
    return containers, containers + outside.count(b",")


def _outside_strings(body: bytes) -> bytes:
    """What is left of a JSON text when its strings are taken out. Raises BadRequest for too many."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if body.count(b'"') > 2 * MAX_STRINGS:
        raise BadRequest(f"invalid JSON: more than {MAX_STRINGS} strings")
    return b"".join(body.split(b'"')[::2])


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadRequest(f'invalid JSON: the key "{twice[:80]}" stands twice in one object', twice[:80])
    if len(members) > MAX_KEYS or max(map(len, members), default=0) > MAX_KEY_LENGTH:
        raise BadRequest(f"invalid JSON: an object holds at most {MAX_KEYS} keys of {MAX_KEY_LENGTH} characters")
    return members


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadRequest(f"invalid JSON: the number {text[:40]} is out of range")
    return number


def _constant(text: str) -> float:
    raise BadRequest(f"invalid JSON: {text} is not a JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_float=_float, parse_constant=_constant)


def _with_known_keys(schema: type[msgspec.Struct], value: dict[str, Any]) -> dict[str, Any]:
    """`value` with top-level keys in the schema's spelling and without nulls."""
    known = schema.__struct_encode_fields__
    chosen: dict[str, Any] = {}
    for key, item in value.items():
        name = key if key in known else key.lower()
        if name in chosen:
            raise BadRequest(f'invalid JSON: the key "{name}" stands twice, once in another case', name)
        if name in known and item is not None:
            chosen[name] = item
    return chosen


def _refusal(text: str) -> BadRequest:
    """A message like ``Expected `int`, got `str` - at `$.seed` `` in JSON's words, the field first."""
    match = _EXPECTED.fullmatch(text)
    what, path = (match["what"], match["path"] or "") if match else (text, "")
    words = _TYPES.sub(lambda types: _WORD.sub(_json_name, types[1]).replace(" | ", " or "), what)
    sentence = words[:1].lower() + words[1:]
    return BadRequest(f"{path}: {sentence}" if path else f"invalid JSON: {sentence}", path or None)


def _json_name(name: re.Match[str]) -> str:
    return _JSON_NAMES.get(name[0], name[0])
