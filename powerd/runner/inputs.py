"""From an Embed frame and its text to a Job: the tokens of one input, cut at their end where that is allowed."""

from __future__ import annotations

from collections.abc import Collection

from powerd.errors import BadRequest, ContextOverflow
from powerd.runner.adapters import refuse_unloaded
from powerd.runner.making import utf8
from powerd.runner.pooling import Job
from powerd.runner.vocabulary import Vocabulary
from powerd.vectors import Embed

#: Bytes for each token of the limit beyond which an input that may be cut is not read.
_MOST_BYTES = 64


class InputMaker:
    """Makes jobs of at most `limit` tokens, special ones among them; `adapters` are the digests that are loaded."""

    def __init__(self, vocabulary: Vocabulary, limit: int, adapters: Collection[str] = ()) -> None:
        self._vocabulary = vocabulary
        self._limit = limit
        self._adapters = adapters

    def make(self, frame: Embed, text: bytes) -> Job:
        """The job that `frame` asks for. Raises BadRequest, ContextOverflow."""
        limit = min(frame.context or self._limit, self._limit)
        utf8(text)
        refuse_unloaded(frame.adapters, self._adapters)
        tokens, needed = self._tokens(text, limit, frame)
        tokens = tokens or [self._first()]
        return Job(frame.id, tokens, frame.normalise, max(0, frame.dimensions), needed, frame.adapters)

    def _tokens(self, text: bytes, limit: int, frame: Embed) -> tuple[list[int], int]:
        """The tokens, and how many there were before they were cut, 0 if they were not."""
        least = len(text) // self._vocabulary.longest if self._vocabulary.longest else 0
        if least > limit and not frame.truncate:
            raise ContextOverflow(least, limit, frame.context_source)
        read = text
        if frame.truncate and len(text) > _MOST_BYTES * limit:
            read = text[: _MOST_BYTES * limit].decode(errors="ignore").encode()
        tokens, count = self._vocabulary.tokenize(read, True, limit)
        if count <= limit:
            return tokens, 0 if read is text else max(least, limit + 1)
        if not frame.truncate:
            raise ContextOverflow(count, limit, frame.context_source)
        return self._cut(read, count, limit), max(count, least)

    def _cut(self, text: bytes, count: int, limit: int) -> list[int]:
        """The first `limit` tokens; what the tokenizer puts behind a text stays behind it."""
        tokens, _ = self._vocabulary.tokenize(text, True, count)
        _, plain = self._vocabulary.tokenize(text, False, 0)
        tail = max(0, count - plain - int(self._vocabulary.adds_bos))
        if tail >= limit or not tail:
            return tokens[:limit]
        return tokens[: limit - tail] + tokens[-tail:]

    def _first(self) -> int:
        if self._vocabulary.bos is None:
            raise BadRequest("the input is empty, and this model has no token to begin a text with", "input")
        return self._vocabulary.bos
