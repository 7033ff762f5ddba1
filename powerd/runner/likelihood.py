"""How likely each token of an answer was, from the raw logits: before masks, penalties, temperature and cuts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from powerd.protocol import Likely, Logprob

#: What stands for a probability of zero, as in OpenAI's interface: JSON has no infinity.
_NEVER = -9999.0
#: Bytes told of one token; only a broken vocabulary has longer ones.
_MOST_BYTES = 512


class Likelihood:
    """Reads rows of logits for one request.

    numpy is imported with the first of them: a runner that nobody asks for probabilities does without.
    """

    def __init__(self, logits: Callable[[int], Any], size: int, text: Callable[[int], bytes], top: int) -> None:
        """`logits` gives a C pointer to the `size` floats of a row, `text` the bytes a token is written with."""
        import numpy  # noqa: PLC0415  # 0.1 s and 20 MB that few runners need

        self._numpy: Any = numpy
        self._logits = logits
        self._size = size
        self._text = text
        self._top = min(top, size)
        self._row: Any = None

    def look(self, row: int) -> None:
        """Take the probabilities of `row` of the last decode. To be called before anything changes the logits."""
        numpy = self._numpy
        values = numpy.ctypeslib.as_array(self._logits(row), (self._size,))
        highest = values.max()
        total = numpy.exp(values - highest).sum(dtype=numpy.float64)
        self._row = values - numpy.float32(highest + numpy.log(total))

    def of(self, token: int) -> Logprob:
        """What is told of `token`, which was chosen in the row looked at last."""
        return Logprob(self._text(token)[:_MOST_BYTES], self._value(token), self._best())

    def _best(self) -> list[Likely]:
        """The likeliest tokens, best first; of equal ones the lower number first."""
        if not self._top:
            return []
        best = self._numpy.argpartition(self._row, self._size - self._top)[-self._top :].tolist()
        best.sort(key=lambda token: (-self._value(token), token))
        return [Likely(self._text(token)[:_MOST_BYTES], self._value(token)) for token in best]

    def _value(self, token: int) -> float:
        return max(_NEVER, float(self._row[token]))
