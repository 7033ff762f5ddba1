"""How far a JSON object reaches in a stream of text, and what it says, its writer's usual slips forgiven."""

from __future__ import annotations

import re

import msgspec

#: Brackets open at once. Deeper is no arguments of a tool, and would reach a recursive encoder later.
MAX_DEPTH = 64

_OUTSIDE = re.compile(r'["{}\[\]<]')
_INSIDE = re.compile(r'["\\]')
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
#: A string, a comma too many, or a constant as Python writes it.
_SLIP = re.compile(rf"({_STRING})|,(?=\s*[}}\]])|\b(True|False|None)\b", re.DOTALL)
_CONSTANTS = {"True": "true", "False": "false", "None": "null"}
_CONTROL = re.compile(r"[\x00-\x1f]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Extent:
    """Follows one object from its first brace to its last, whatever the chunks.

    Ends early where no JSON can go on: at a `<` outside of strings, and where it is too deep.
    """

    __slots__ = ("_escaped", "_inside", "_open")

    def __init__(self) -> None:
        self._open: list[str] = []
        self._inside = False
        self._escaped = False

    @property
    def lacks(self) -> str:
        """The brackets that are missing."""
        return "".join(reversed(self._open))

    def follow(self, text: str, start: int) -> int | None:
        """The position behind the object's end; None while it goes on."""
        at: int | None = start
        while at is not None:
            if self._inside:
                at = self._string(text, at)
            else:
                at, over = self._bracket(text, at)
                if over:
                    return at
        return None

    def _string(self, text: str, start: int) -> int | None:
        if self._escaped and start < len(text):
            self._escaped = False
            start += 1
        found = _INSIDE.search(text, start)
        if found is None:
            return None
        if found[0] == '"':
            self._inside = False
            return found.end()
        self._escaped = True
        return found.end() if found.end() < len(text) else None

    def _bracket(self, text: str, start: int) -> tuple[int | None, bool]:
        found = _OUTSIDE.search(text, start)
        if found is None:
            return None, False
        character = found[0]
        if character == '"':
            self._inside = True
        elif character == "<" or (character in "{[" and len(self._open) == MAX_DEPTH):
            return found.start(), True
        elif character in "{[":
            self._open.append("}" if character == "{" else "]")
        else:
            self._open.pop()
            return found.end(), not self._open
        return found.end(), False


def decode(text: str, lacks: str = "") -> dict[str, object] | None:
    """The object that a text says, `lacks` being the brackets missing at its end; None where it says none.

    Forgiven are line breaks and needless escapes in strings, commas too many, Python's constants, the last brace where
    one before it is there, and doubled braces around it all (from models that learned from format strings).
    """
    if lacks and (lacks != "}" or not text.rstrip().endswith("}")):
        return None
    if not lacks and (found := _strict(text)) is not None:
        return found
    mended = _SLIP.sub(_mend, text + lacks)
    found = _strict(mended)
    if found is None and mended.startswith("{{") and mended.endswith("}}"):
        found = _strict(mended[1:-1])
    return found


def decode_whole(text: str) -> dict[str, object] | None:
    """The object that a text from elsewhere says, if that is all of it and not too deep."""
    text = text.strip()
    extent = Extent()
    if not text.startswith("{") or extent.follow(text, 0) != len(text) or extent.lacks:
        return None
    return decode(text)


def _strict(text: str) -> dict[str, object] | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _mend(slip: re.Match[str]) -> str:
    if slip[1] is None:
        return _CONSTANTS.get(slip[2] or "", "")
    return _ESCAPE.sub(_mend_escape, _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", slip[1]))


def _mend_escape(found: re.Match[str]) -> str:
    if found[1] in '"\\/bfnrtu':
        return found[0]
    return found[1] if found[1] == "'" else "\\" + found[0]
