"""Answers kept within a grammar: before a token is drawn, all that may not follow are made impossible in the logits.

The masks come from llguidance, made of the vocabulary once (0.8 s for 150,000 tokens) and then 20 µs a token; they
are written into llama.cpp's own row, so the sampler chain stays what it is. llama.cpp's grammars (GBNF) would walk
all candidates of a row in milliseconds, and abort the process on text that has left the grammar.

Where only one token may follow it is taken without drawing. Text before a trigger, and thinking, is not looked at
beyond that: what follows decides. A token that completes a trigger, or thinking, and goes on in a way the grammar
does not is drawn again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from powerd.runner.guide import Guide
from powerd.runner.token import Sampler, Stuck

#: Draws of a token that must fit what it completes, before the text is let go its own way.
_MOST_DRAWS = 64
_NEVER = float("-inf")


class Guided:
    """A sampler that draws what its guide allows."""

    def __init__(self, sampler: Sampler, guide: Guide, row: Callable[[int], Any], size: int) -> None:
        """`row` gives a C pointer to the `size` floats of a row of the last decode, one for each token."""
        import numpy  # noqa: PLC0415  # 0.1 s and 20 MB that few runners need

        self._numpy: Any = numpy
        self._sampler = sampler
        self._guide = guide
        self._row = row
        self._ends = sorted(guide.ends)
        self._floats = ctypes.c_float * size

    def draw(self, row: int) -> int:
        """The token chosen for `row` of the last decode. Raises Stuck."""
        mask = self._guide.mask()
        if mask is None and self._guide.owes:
            self._view(row)[self._ends] = _NEVER
        elif mask is not None:
            only = self._narrow(self._view(row), mask)
            if only is not None:
                self.take(only)
                return only
        token = self._sampler.draw(row)
        for _ in range(_MOST_DRAWS):
            if self._guide.follow(token):
                return token
            self._view(row)[token] = _NEVER
            token = self._sampler.draw(row)
        self._guide.skip(token)
        return token

    def take(self, token: int) -> None:
        """Remember `token`, which comes next without having been drawn."""
        self._sampler.take(token)
        if not self._guide.follow(token):
            self._guide.skip(token)

    def close(self) -> None:
        """Free what it holds; once."""
        self._sampler.close()

    def _view(self, row: int) -> Any:
        values = ctypes.cast(self._row(row), ctypes.POINTER(self._floats)).contents
        return self._numpy.frombuffer(values, self._numpy.float32)

    def _narrow(self, values: Any, mask: bytes) -> int | None:
        """Make impossible what `mask` leaves out. The token if only one is left."""
        numpy = self._numpy
        size = len(values)
        bits = numpy.unpackbits(numpy.frombuffer(mask, numpy.uint8), bitorder="little", count=size).view(bool)
        count = int(numpy.count_nonzero(bits))
        if 2 * count > size:
            values[numpy.flatnonzero(~bits)] = _NEVER
            return None
        allowed = numpy.flatnonzero(bits)
        if count < 2:
            if not count:
                raise Stuck("no token of this model can go on as the grammar wants")
            return int(allowed[0])
        kept = values[allowed]
        values.fill(_NEVER)
        values[allowed] = kept
        return None
