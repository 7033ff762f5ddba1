"""Values in Python's notation and in Gemma's, and calls that hold them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from powerd.output.calls.extent import MAX_DEPTH
from powerd.output.calls.scanner import NoCall, Scanner, Steps, finished
from powerd.output.marks import marks

_ATOM = re.compile(r"""[^\s,:()\[\]{}<>"'=]*""")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_CONSTANTS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0", "\n": ""}
_DIGITS = {"x": 2, "u": 4}
#: A float's digits; more of them say nothing.
_LONGEST_NUMBER = 64
_CLOSING = {"[": "]", "(": ")"}


@dataclass(frozen=True, slots=True)
class Notation:
    """How strings and keys are written. `quote` stands on both sides of a string without escapes."""

    quote: str = ""
    bare_keys: bool = False


PYTHON = Notation()


def literal(text: str, notation: Notation) -> object:
    """The value that a whole text says; None where it says none."""
    scanner = Scanner()
    scanner.add(text)
    scanner.ended = True
    try:
        found = finished(value(scanner, notation))
        finished(scanner.blanks())
    except NoCall:
        return None
    return found if scanner.empty else None


def value(scanner: Scanner, notation: Notation, depth: int = 0) -> Steps[object]:
    """The value that comes next, without what follows it."""
    yield from scanner.blanks()
    if notation.quote and (yield from scanner.maybe(notation.quote)):
        return (yield from scanner.until(marks(notation.quote)))[0]
    if depth == MAX_DEPTH:
        raise NoCall
    opening = yield from scanner.maybe('"', "'", "{", "[", "(")
    if opening == "{":
        return (yield from entries(scanner, notation, depth + 1))
    if opening in _CLOSING:
        return (yield from _items(scanner, notation, depth + 1, _CLOSING[opening]))
    if opening:
        return (yield from _string(scanner, opening))
    return _atom((yield from scanner.run(_ATOM)))


def entries(scanner: Scanner, notation: Notation, depth: int = 0) -> Steps[dict[str, object]]:
    """What stands between a brace that is read and the one that closes it, both read."""
    found: dict[str, object] = {}
    while True:
        yield from scanner.blanks()
        if (yield from scanner.maybe("}")):
            return found
        key = yield from _key(scanner, notation)
        if key in found:
            raise NoCall
        yield from scanner.blanks()
        yield from scanner.word(":")
        found[key] = yield from value(scanner, notation, depth)
        yield from scanner.blanks()
        if (yield from scanner.word(",", "}")) == "}":
            return found


def _items(scanner: Scanner, notation: Notation, depth: int, closing: str) -> Steps[list[object]]:
    found: list[object] = []
    while True:
        yield from scanner.blanks()
        if (yield from scanner.maybe(closing)):
            return found
        found.append((yield from value(scanner, notation, depth)))
        yield from scanner.blanks()
        if (yield from scanner.word(",", closing)) == closing:
            return found


def _key(scanner: Scanner, notation: Notation) -> Steps[str]:
    if notation.quote and (yield from scanner.maybe(notation.quote)):
        return (yield from scanner.until(marks(notation.quote)))[0]
    quote = yield from scanner.maybe('"', "'")
    if quote:
        return (yield from _string(scanner, quote))
    key = (yield from scanner.run(_ATOM)) if notation.bare_keys else ""
    if not key:
        raise NoCall
    return key


def _string(scanner: Scanner, quote: str) -> Steps[str]:
    """A string after its quote, escapes as Python and JSON have them; others stay as they are."""
    parts: list[str] = []
    while True:
        part, mark = yield from scanner.until(marks(quote, "\\"))
        parts.append(part)
        if mark == quote:
            return _whole("".join(parts))
        parts.append((yield from _escape(scanner)))


def _escape(scanner: Scanner) -> Steps[str]:
    character = yield from scanner.peek()
    yield from scanner.word(character or "\\")
    if character not in _DIGITS:
        return _ESCAPES.get(character, character if character in "\"'\\/" else "\\" + character)
    digits = ""
    while len(digits) < _DIGITS[character] and (yield from scanner.peek()) in "0123456789abcdefABCDEF":
        digit = yield from scanner.peek()
        digits += yield from scanner.word(digit or "\\")
    return chr(int(digits, 16)) if len(digits) == _DIGITS[character] else f"\\{character}{digits}"


def _whole(text: str) -> str:
    """The text with pairs of surrogates made one character; raises NoCall where one stands alone."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise NoCall from None


def _atom(text: str) -> object:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if len(text) <= _LONGEST_NUMBER and _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    raise NoCall
