"""Where an answer stands in its constraint: free, thinking, waiting for a trigger, or held by a grammar."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Protocol

from powerd.protocol import Constraint
from powerd.runner.thinking import Thoughts
from powerd.runner.token import Stuck

#: A control token, or bytes of text.
Unit = int | bytes


class Matcher(Protocol):
    """llguidance's matcher, as far as it is used."""

    def compute_bitmask(self) -> bytes:
        """A bit for each token that may follow."""

    def consume_token(self, sampled_token: int) -> bool:
        """Whether the token could follow; after one that could not the matcher is of no more use."""

    def is_stopped(self) -> bool:
        """Whether only the answer's end may follow, or the matcher failed."""

    def is_accepting(self) -> bool:
        """Whether the text so far is a whole one."""

    def is_error(self) -> bool:
        """Whether the matcher failed."""

    def get_error(self) -> str:
        """Why."""


@dataclass(frozen=True, slots=True)
class Words:
    """The vocabulary as a guide needs it."""

    piece: Callable[[int], bytes]  # what a token puts into the answer, shown control tokens included
    ends: Collection[int]  # tokens that end the answer
    units: Callable[[str], list[Unit]]  # a text as control tokens and what stands between
    letters: Mapping[int, int]  # a byte's value -> the token of that byte alone


@dataclass(frozen=True, slots=True)
class Grammars:
    """Makes matchers at their beginning: of the grammar, and of one that lets thinking begin instead."""

    answer: Callable[[], Matcher]
    opening: Callable[[], Matcher] | None = None


@dataclass(slots=True)
class _Standing:
    """What one token changes."""

    thoughts: Thoughts | None
    matcher: Matcher | None = None
    seen: bytes = b""  # text that may hold the beginning of a trigger
    watching: bool = False
    opening: bool = field(default=False)  # the matcher's grammar lets thinking begin


class Guide:
    """Follows one answer, and says what may come next."""

    __slots__ = ("_constraint", "_find", "_grammars", "_longest", "_now", "_triggered_often", "_units", "_words")

    def __init__(
        self, constraint: Constraint, grammars: Grammars, words: Words, thoughts: Thoughts | None = None
    ) -> None:
        """`thoughts`: where the answer thinks, if it may."""
        self._constraint = constraint
        self._triggered_often = bool(constraint.triggers) and not constraint.once
        self._grammars = grammars
        self._words = words
        triggers = [trigger.encode() for trigger in constraint.triggers]
        self._longest = max(map(len, triggers), default=0)
        self._find = re.compile(b"|".join(map(re.escape, sorted(triggers, key=len, reverse=True))))
        self._units = {trigger.encode(): words.units(trigger) for trigger in constraint.triggers}
        self._now = self._outside(_Standing(None if thoughts is None or thoughts.over else thoughts))

    @property
    def ends(self) -> Collection[int]:
        """The tokens that end an answer."""
        return self._words.ends

    def mask(self) -> bytes | None:
        """A bit for each token that may come next, lowest first; None = any may. Raises Stuck."""
        matcher = self._now.matcher
        if matcher is None:
            return None
        mask = matcher.compute_bitmask()
        if matcher.is_error():
            raise Stuck(f"the constraint on the answer cannot be followed: {_first_line(matcher.get_error())}")
        return mask

    @property
    def owes(self) -> bool:
        """Whether any text may follow but not the end: the answer thinks, and what must match is to come."""
        return self._now.matcher is None and not self._constraint.triggers

    def follow(self, token: int) -> bool:
        """Take in the next token; False = it cannot be, and nothing has changed."""
        if token in self._words.ends:
            return True
        piece = self._words.piece(token)
        after = self._held(token, piece) if self._now.matcher is not None else self._free(piece)
        if after is None:
            return False
        self._now = after
        return True

    def skip(self, token: int) -> None:
        """Take in a token that had to come and does not fit: the grammar begins after it, or at the next trigger."""
        thoughts = copy(self._now.thoughts)
        if thoughts is not None:
            thoughts.feed(self._words.piece(token))
        self._now = _Standing(None) if self._constraint.first else self._outside(_Standing(thoughts))

    # ------------------------------------------------------------ one token

    def _held(self, token: int, piece: bytes) -> _Standing | None:
        now = self._now
        matcher = now.matcher
        assert matcher is not None
        if not matcher.consume_token(token):
            return None
        if now.opening and now.thoughts is not None:
            now.thoughts.feed(piece)
            if now.thoughts.inside:
                return _Standing(now.thoughts)
            if now.thoughts.over:
                return _Standing(None, matcher)
        elif self._triggered_often and matcher.is_stopped() and not matcher.is_error():
            return self._outside(_Standing(now.thoughts))
        return now

    def _free(self, piece: bytes) -> _Standing | None:
        """Text outside of the grammar: thinking, or what may come before a trigger."""
        now = self._now
        if now.thoughts is None and not now.watching:
            return now
        after = _Standing(copy(now.thoughts), None, now.seen, now.watching)
        rest = self._think(after, piece)
        if after.matcher is None and after.watching and rest:
            return self._watch(after, rest)
        return after if not rest or self._feed(after, [rest]) else None

    def _think(self, after: _Standing, piece: bytes) -> bytes:
        """Pass over what is thinking; the bytes behind it."""
        thoughts = after.thoughts
        if thoughts is None:
            return piece
        outside = b""
        for index in range(len(piece)):
            was_inside = thoughts.inside
            thoughts.feed(piece[index : index + 1])
            if was_inside and not thoughts.inside:
                begun = self._outside(_Standing(None if thoughts.over else thoughts))
                after.thoughts, after.matcher = begun.thoughts, begun.matcher
                after.watching, after.opening, after.seen = begun.watching, begun.opening, b""
                return piece[index + 1 :]
            if not thoughts.inside:
                outside += piece[index : index + 1]
        if thoughts.over:
            after.thoughts = None
        return b"" if thoughts.inside else outside

    def _outside(self, now: _Standing) -> _Standing:
        """The answer proper begins, or goes on after a grammar's end."""
        thoughts = now.thoughts
        if thoughts is not None and thoughts.inside:
            return now
        if self._constraint.triggers:
            return _Standing(thoughts, watching=True)
        opening = self._grammars.opening if thoughts is not None else None
        return _Standing(thoughts, (opening or self._grammars.answer)(), opening=opening is not None)

    def _watch(self, after: _Standing, text: bytes) -> _Standing | None:
        """Look for a trigger in what was seen and `text`."""
        seen = after.seen + text
        if self._constraint.first:
            seen = seen.lstrip()
            found = self._find.match(seen)
            if found is None and not any(trigger.startswith(seen) for trigger in self._units):
                return _Standing(None)
        else:
            found = self._find.search(seen)
        if found is None:
            after.seen = seen if self._constraint.first else seen[len(seen) - min(len(seen), self._longest - 1) :]
            return after
        begun = _Standing(after.thoughts, self._grammars.answer())
        return begun if self._feed(begun, [*self._units[found[0]], seen[found.end() :]]) else None

    def _feed(self, begun: _Standing, text: list[Unit]) -> bool:
        """Have the matcher read text that is already written."""
        matcher: Any = begun.matcher
        if matcher is None:
            return True
        for unit in text:
            tokens = [unit] if isinstance(unit, int) else [self._words.letters.get(byte, -1) for byte in unit]
            for token in tokens:
                if token < 0 or not matcher.consume_token(token):
                    return False
        return True


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:200]
