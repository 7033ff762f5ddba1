"""Whether a regular expression from a request may become part of a grammar. Pure, and linear in the expression.

The engine matches with derivatives: nothing in it backtracks, so what costs there is size, above all counted
repetition within counted repetition. What it cannot match at all, looking around and back, is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Bytes, depth of groups, and how often one part may be repeated in all (reliability row S46).
LONGEST = 512
_DEEPEST = 32
_MOST_REPEATS = 1000

_UNLIMITED = 0
_COUNTED = re.compile(r"\{(\d{1,9})(,?)(\d{0,9})\}")
_GROUP = re.compile(r"\((?:\?(?:P?<[A-Za-z_]\w*>|[a-z-]*:|[a-z-]+(?=\))))?")
_REFUSED = {
    "(?=": "looks ahead",
    "(?!": "looks ahead",
    "(?<=": "looks behind",
    "(?<!": "looks behind",
    "(?P=": "refers back",
}


def fault(pattern: str) -> str:
    """What is wrong with `pattern`, as the end of a sentence about it; empty = nothing."""
    if len(pattern.encode(errors="replace")) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    return _Walk(pattern).fault()


class _Walk:
    """One pass over an expression."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._groups: list[_Group] = [_Group()]

    def fault(self) -> str:
        """The first thing that is wrong."""
        for position, atom in _atoms(self._pattern):
            found = self._take(atom)
            if found:
                return f"{found} at character {position + 1}"
        return "has a group that is not closed" if len(self._groups) > 1 else ""

    def _take(self, atom: str) -> str:
        if atom[0] == "(":
            return self._open(atom)
        if atom == ")":
            return self._close()
        if atom[0] == "\\" and (atom == "\\" or atom[1] in "123456789k"):
            return "ends with a lone backslash" if atom == "\\" else "refers back"
        if atom[0] == "[" and (len(atom) < 3 or atom[-1] != "]"):
            return "has a set that is not closed"
        if atom[0] in "*+?{" and (times := _times(atom)) is not None:
            return self._repeat(times)
        self._groups[-1].add(None, empty=atom in "|^$")
        return ""

    def _open(self, beginning: str) -> str:
        if beginning in _REFUSED:
            return _REFUSED[beginning]
        if beginning == "(?":
            return "has a kind of group that cannot be matched"
        self._groups.append(_Group())
        return f"nests groups deeper than {_DEEPEST}" if len(self._groups) > _DEEPEST else ""

    def _close(self) -> str:
        if len(self._groups) == 1:
            return "closes a group that was not opened"
        closed = self._groups.pop()
        self._groups[-1].add(closed)
        return ""

    def _repeat(self, times: int) -> str:
        group = self._groups[-1]
        if not group.repeatable:
            return "repeats nothing"
        if times == _UNLIMITED and group.last is not None and group.last.only_unlimited:
            return "repeats without limit what already repeats without limit"
        group.repeat(times)
        return f"repeats a part more than {_MOST_REPEATS} times" if group.repeats > _MOST_REPEATS else ""


class _Group:
    """What a group holds: how often its parts repeat, and whether it is one part that repeats without limit."""

    def __init__(self) -> None:
        self.repeats = 1
        self.last: _Group | None = None
        self.repeatable = False
        self._atoms = 0
        self._unlimited = False
        self._weight = 1  # of the last atom

    def add(self, group: _Group | None, *, empty: bool = False) -> None:
        """Another atom, perhaps a closed group; `empty`: it matches no character."""
        self._atoms += 1
        self._unlimited = False
        self.repeatable = not empty
        self.last = group
        self._weight = group.repeats if group else 1
        self.repeats = max(self.repeats, self._weight)

    def repeat(self, times: int) -> None:
        """The last atom repeats; 0 = without limit."""
        self._unlimited = times == _UNLIMITED
        self._weight *= max(times, 1)
        self.repeats = max(self.repeats, self._weight)
        self.repeatable = False

    @property
    def only_unlimited(self) -> bool:
        """Whether this group is one atom repeated without limit."""
        return self._atoms == 1 and self._unlimited


def _times(quantifier: str) -> int | None:
    """The most repetitions; 0 = without limit; None when `{` is only a character."""
    if quantifier[0] in "*+":
        return _UNLIMITED
    if quantifier[0] == "?":
        return 1
    found = _COUNTED.fullmatch(quantifier)
    if found is None:
        return None
    least, comma, most = found.groups()
    if comma and not most:
        return int(least) if int(least) > 1 else _UNLIMITED
    return int(most or least)


def _atoms(pattern: str) -> Iterator[tuple[int, str]]:
    """Positions and atoms: a set, an escape, a quantifier, a group's beginning or end, or a character."""
    position = 0
    while position < len(pattern):
        atom = _atom(pattern, position)
        yield position, atom
        position += len(atom)
        if _times(atom) is not None and pattern.startswith("?", position):
            position += 1  # lazy repetition matches the same


def _atom(pattern: str, position: int) -> str:
    character = pattern[position]
    if character == "\\":
        return pattern[position : position + 2]
    if character == "[":
        return pattern[position : _end_of_set(pattern, position) + 1]
    if character == "{" and (counted := _COUNTED.match(pattern, position)):
        return counted[0]
    if character == "(":
        refused = next((beginning for beginning in _REFUSED if pattern.startswith(beginning, position)), "")
        known = _GROUP.match(pattern, position)
        beginning = refused or (known[0] if known else "(")
        return "(?" if beginning == "(" and pattern.startswith("?", position + 1) else beginning
    return character


def _end_of_set(pattern: str, position: int) -> int:
    """Where a set's `]` stands: one at its beginning is a member."""
    end = position + 1
    end += pattern.startswith("^", end)
    end += pattern.startswith("]", end)
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return end
