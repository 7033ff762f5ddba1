"""Makes the guides of one model: its vocabulary as llguidance reads it, and compiled grammars.

The only import of llguidance. Used from one thread at a time; nothing of it is loaded before the first request that
needs it.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from powerd.errors import BadRequest, Unsupported
from powerd.protocol import Constraint, Thinking
from powerd.runner.guide import Grammars, Guide, Matcher, Unit, Words
from powerd.runner.thinking import Thoughts
from powerd.runner.token import Token
from powerd.runner.vocabulary import Vocabulary

_MOST_COMPILED = 64
_MARKER = re.compile(r"^(marker_\d+): (\".*\")$", re.MULTILINE)
_START = re.compile(r"^start:", re.MULTILINE)


class Guides:
    """Compiles constraints for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._engine: Any = None
        self._tokenizer: Any = None
        self._letters: dict[int, int] = {}
        self._ends: frozenset[int] = frozenset()
        self._compiled: OrderedDict[str, Any] = OrderedDict()

    def guide(
        self,
        constraint: Constraint,
        thinking: Thinking | None,
        shown: Mapping[int, Token],
        *,
        anywhere: bool = False,
    ) -> Guide:
        """What follows one answer. `anywhere`: as for Thoughts. Raises BadRequest, Unsupported."""
        self._load()
        thoughts = Thoughts(thinking, anywhere=anywhere) if thinking is not None else None
        grammar = _MARKER.sub(self._narrowed, constraint.grammar)
        opening = None
        if thinking is not None and thinking.open and not constraint.triggers:
            opening = self._compile(self._with_opening(grammar, thinking.open))
        grammars = Grammars(self._compile(grammar), opening)
        return Guide(constraint, grammars, self._words(constraint, thinking, shown), thoughts)

    def _words(self, constraint: Constraint, thinking: Thinking | None, shown: Mapping[int, Token]) -> Words:
        """The vocabulary, with the text of every control token that a trigger or a tag may hold."""
        texts = {token: known.piece for token, known in shown.items()}
        tags = (thinking.open, thinking.close) if thinking is not None else ()
        for text in (*constraint.triggers, *tags):
            texts |= {unit: self._vocabulary.text(unit) for unit in self._units(text) if isinstance(unit, int)}
        token = self._vocabulary.token
        return Words(
            piece=lambda number: texts[number] if number in texts else token(number).piece,
            ends=self._ends,
            units=self._units,
            letters=self._letters,
        )

    # ------------------------------------------------------------ grammars

    def _compile(self, grammar: str) -> Callable[[], Matcher]:
        """What makes matchers of a grammar. Raises BadRequest."""
        known = self._compiled.get(grammar)
        if known is None:
            limits = self._engine.LLParserLimits(verbose_errors=False)
            known = self._engine.LLMatcher(self._tokenizer, grammar, log_level=0, limits=limits)
            if known.is_error():
                reason = known.get_error().partition("\n")[0][:300]
                raise BadRequest(f"the constraint on the answer cannot be used: {reason}", "format")
            self._compiled[grammar] = known
        self._compiled.move_to_end(grammar)
        if len(self._compiled) > _MOST_COMPILED:
            self._compiled.popitem(last=False)
        copied: Callable[[], Matcher] = known.deep_copy
        return copied

    def _with_opening(self, grammar: str, tag: str) -> str:
        """The grammar, or the beginning of thinking and whatever its last token brings with it."""
        opening = f"start: answer | opening\nopening: /[ \\t\\r\\n]{{1,8}}/? {self._rule(tag)} /(?s:.*)/?\n"
        return opening + _START.sub("answer:", grammar)

    def _narrowed(self, found: re.Match[str]) -> str:
        return f"{found[1]}: {self._rule(json.loads(found[2]))}"

    def _rule(self, text: str) -> str:
        """`text` with its control tokens as tokens; one that ends the answer is what the engine ends it with."""
        parts = []
        for unit in self._units(text):
            if isinstance(unit, bytes):
                parts.append(json.dumps(unit.decode(), ensure_ascii=False))
            elif not self._vocabulary.token(unit).ends:
                parts.append(f"<[{unit}]>")
        return " ".join(parts) or '""'

    def _units(self, text: str) -> list[Unit]:
        """`text` as control tokens and the bytes between."""
        units: list[Unit] = []
        rest = text.encode()
        tokens, _ = self._vocabulary.tokenize(rest, False, len(rest))
        for token in tokens:
            if self._vocabulary.token(token).piece:
                continue
            before, found, after = rest.partition(self._vocabulary.text(token))
            if found:
                units += [before, token] if before else [token]
                rest = after
        return [*units, rest] if rest else units

    # ------------------------------------------------------------ the vocabulary

    def _load(self) -> None:
        """Have the vocabulary ready. Raises Unsupported."""
        if self._tokenizer is not None:
            return
        try:
            import llguidance  # noqa: PLC0415  # loaded with the first request that needs it
        except ImportError as error:
            raise Unsupported(
                "structured output is not available: llguidance is not installed here; install it with "
                "`pip install 'powerd[llama]'` and restart powerd"
            ) from error
        vocabulary = self._vocabulary
        pieces, ends = vocabulary.pieces(), vocabulary.ends()
        self._ends = frozenset(ends)
        named = [piece or b"\xff<%d>" % token for token, piece in enumerate(pieces)]
        self._engine = llguidance
        make: Any = llguidance.LLTokenizer
        pointer, tokenize = vocabulary.native
        self._letters = {piece[0]: token for token, piece in enumerate(pieces) if len(piece) == 1}
        self._tokenizer = make.from_llamacpp(
            tokens=named,
            vocab_ptr=pointer,
            tokenize_fptr=tokenize,
            eos_token=ends,
            slices=None,
        )
