"""The parts of a JSON schema that are not schemas: names, counts, bounds, patterns, values. Pure."""

from __future__ import annotations

import math
from typing import Any, ClassVar
from urllib.parse import unquote

from powerd.output.grammars import pattern as patterns

#: Digits of whole numbers that every JSON reader takes (they fit 64 bits), and of the others before the point.
_WHOLE = 10**18 - 1
_BEFORE_POINT = 10**15
_AFTER_POINT = 1e-10  # the finest step the engine's arithmetic can count
_LARGEST_STEP = 10**6
_LARGEST_SHOWN = 10**300
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
_KINDS = {"object", "array", "string", "number", "integer", "boolean", "null"}


class Fault(Exception):
    """What is wrong with a schema, as the end of a sentence that begins "the JSON schema"."""


class Limits:
    """Counts what a schema has used up of what it may hold."""

    depth: ClassVar[int] = 32
    nodes: ClassVar[int] = 2000
    value_bytes: ClassVar[int] = 32 * 1024
    items: ClassVar[int] = 1000
    length: ClassVar[int] = 10_000

    def __init__(self) -> None:
        self._nodes = 0
        self._bytes = 0

    def node(self, where: str, depth: int) -> None:
        """One more schema, or part of a value."""
        if depth > self.depth:
            raise Fault(f"nests deeper than {self.depth} levels at {where[:80]}…")
        self._nodes += 1
        if self._nodes > self.nodes:
            raise Fault(f"has more than {self.nodes} parts")

    def named(self, value: object, keyword: str, where: str) -> dict[str, Any]:
        """The schemas of `properties` or `patternProperties`."""
        if not isinstance(value, dict):
            raise Fault(f"needs an object in {keyword} at {where}, not {kind(value)}")
        if len(value) > self.nodes:
            raise Fault(f"has more than {self.nodes} parts")
        for name in value:
            self._text(name)
        return value

    def required(self, value: object, where: str) -> list[str]:
        """The names of `required`, each once."""
        if not isinstance(value, list) or len(value) > self.nodes or not all(isinstance(name, str) for name in value):
            if value is True or value is False:  # draft 3 says it of each property
                return []
            raise Fault(f"needs a list of at most {self.nodes} names in required at {where}")
        return list(dict.fromkeys(value))

    def counts(self, schema: dict[str, Any], keywords: tuple[str, str], where: str) -> dict[str, int]:
        """A least and a greatest count of items, properties or characters."""
        most = self.length if "Length" in keywords[0] else self.items
        found = {}
        for keyword in keywords:
            if (value := schema.get(keyword)) is None:
                continue
            if not _is_number(value) or value < 0 or value % 1:
                raise Fault(f"needs a whole number of 0 or more in {keyword} at {where}")
            if value > most:
                raise Fault(f"says {keyword}: {_shown(value)} at {where}; at most {most} can be enforced")
            found[keyword] = int(value)
        if found.get(keywords[0], 0) > found.get(keywords[1], most):
            raise Fault(f"wants at least {found[keywords[0]]} and at most {found[keywords[1]]} at {where}")
        return found

    def string(self, schema: dict[str, Any], where: str) -> dict[str, Any]:
        """What is said of a string: its length, its pattern, its format where the engine knows it."""
        made: dict[str, Any] = dict(self.counts(schema, ("minLength", "maxLength"), where))
        if "pattern" in schema:
            made["pattern"] = pattern(schema["pattern"], where)
        if isinstance(schema.get("format"), str) and schema["format"] in _FORMATS:
            made["format"] = schema["format"]
        return made

    def values(self, schema: dict[str, Any], where: str) -> dict[str, Any]:
        """`const` or `enum`, with the type that is said beside them."""
        if "const" in schema:
            self._value(schema["const"], where, 0)
            return {"const": schema["const"]}
        listed = schema["enum"]
        if not isinstance(listed, list) or not listed or len(listed) > self.nodes:
            raise Fault(f"needs a list of 1 to {self.nodes} values in enum at {where}")
        for value in listed:
            self._value(value, where, 0)
        kinds = schema.get("type")
        return {"enum": listed} if kinds is None else {"enum": listed, "type": kinds}

    def _value(self, value: object, where: str, depth: int) -> None:
        self.node(where, depth)
        if isinstance(value, str):
            self._text(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if not _is_number(value) or not -_WHOLE <= value <= _WHOLE:
                raise Fault(f"has a number beyond 18 digits at {where}")
        elif isinstance(value, dict | list):
            if len(value) > self.nodes:
                raise Fault(f"has more than {self.nodes} parts")
            for name in value if isinstance(value, dict) else ():
                self._text(name)
            for inner in value.values() if isinstance(value, dict) else value:
                self._value(inner, where, depth + 1)

    def _text(self, text: str) -> None:
        self._bytes += len(text)
        if self._bytes > self.value_bytes:
            raise Fault(f"holds more than {self.value_bytes // 1024} KiB of names and values")
        if any(character < " " and character not in "\b\t\n\f\r" for character in text) or not _encodes(text):
            raise Fault("has a control character or half of a character in a name or value")


def number(schema: dict[str, Any], *, whole: bool, where: str) -> dict[str, Any]:
    """The bounds of a number, given or our own, so that its digits come to an end."""
    most = _WHOLE if whole else _BEFORE_POINT
    low, high = _bound(schema, "inimum", where), _bound(schema, "aximum", where)
    made: dict[str, Any] = {}
    for (keyword, value), own, clamp in ((low, -most, max), (high, most, min)):
        name = keyword if value is not None else "minimum" if clamp is max else "maximum"
        made[name] = own if value is None else clamp(value, own)
    smallest, largest = (next(value for name, value in made.items() if part in name) for part in ("inimum", "aximum"))
    if smallest > largest or not -most <= smallest or not largest <= most:
        raise Fault(f"allows no number at {where}: at least {_shown(smallest)} and at most {_shown(largest)}")
    step = _step(schema.get("multipleOf"), where)
    if step is not None or not whole:
        made["multipleOf"] = _AFTER_POINT if step is None else step
    return made


def _bound(schema: dict[str, Any], ending: str, where: str) -> tuple[str, Any]:
    """A bound and its keyword; drafts before 6 say `exclusiveMinimum: true` beside `minimum`."""
    plain, exclusive = f"m{ending}", f"exclusiveM{ending}"
    value, strict = schema.get(plain), schema.get(exclusive)
    for keyword, given in ((plain, value), (exclusive, strict if not isinstance(strict, bool) else None)):
        if given is not None and not _is_number(given):
            raise Fault(f"needs a number in {keyword} at {where}")
    if isinstance(strict, bool) or strict is None:
        return (exclusive if strict else plain), value
    if value is None or (strict >= value if ending == "inimum" else strict <= value):
        return exclusive, strict
    return plain, value


def _step(value: Any, where: str) -> float | int | None:
    if value is None:
        return None
    if not _is_number(value) or not 0 < value <= _LARGEST_STEP:
        raise Fault(f"needs a number above 0 and up to {_LARGEST_STEP} in multipleOf at {where}")
    digits = 0 if isinstance(value, int) else -math.floor(math.log10(value))
    if digits > 10 or round(value, 10) != value:
        raise Fault(f"says multipleOf with more than 10 digits after the point at {where}")
    return value if isinstance(value, int) else float(value)


def pattern(value: object, where: str) -> str:
    """A regular expression within limits."""
    if not isinstance(value, str):
        raise Fault(f"needs a string in pattern at {where}, not {kind(value)}")
    wrong = patterns.fault(value)
    if wrong:
        raise Fault(f"has a pattern at {where} that {wrong}")
    return value


def kinds(value: object, where: str) -> list[Any]:
    """The types a schema names."""
    if not isinstance(value, list) or not value:
        raise Fault(f"needs a type or a list of types in type at {where}")
    return value


def refuse_unknown(named: list[Any], where: str) -> None:
    """Raises Fault for a type JSON does not have."""
    for name in named:
        if not isinstance(name, str) or name not in _KINDS:
            raise Fault(f"has an unknown type {str(name)[:40]!r} at {where}; there are {', '.join(sorted(_KINDS))}")


def kind(value: object) -> str:
    """What a value is called in JSON."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def unescaped(step: str) -> str:
    """A step of a JSON pointer as the name it stands for (RFC 6901, within a URI fragment)."""
    return unquote(step).replace("~1", "/").replace("~0", "~")


def _is_number(value: Any) -> bool:
    """Whether a value is a number as JSON has them: finite, and no boolean."""
    return math.isfinite(value) if isinstance(value, float) else isinstance(value, int) and not isinstance(value, bool)


def _shown(value: float) -> str:
    return f"{value:g}" if abs(value) < _LARGEST_SHOWN else "a number of hundreds of digits"


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
