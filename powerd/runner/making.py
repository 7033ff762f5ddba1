"""From a Generate frame and its text to a Sequence: the prompt's tokens, what is cut of them, what else was asked."""

from __future__ import annotations

from array import array
from typing import Any, Protocol

from powerd.errors import BadRequest, ContextOverflow
from powerd.protocol import Cut, Generate, Thinking
from powerd.runner.adapters import refuse_unloaded
from powerd.runner.constraint import Guided
from powerd.runner.extras import Probabilities, Wishes
from powerd.runner.guide import Guide
from powerd.runner.guides import Guides
from powerd.runner.sequence import Prompt, Sequence
from powerd.runner.thinking import Budget
from powerd.runner.token import Sampler, Token
from powerd.runner.vocabulary import Vocabulary
from powerd.runner.window import after_cutting, head

#: Bytes of text that take noticeable time to tokenise.
_LONG_TEXT = 1 << 20
#: Bytes for each token of the context beyond which a text's middle is not read: few texts have half as many a token.
_MOST_BYTES = 64
#: Alternatives that can be asked for, as in every dialect.
_MOST_ALTERNATIVES = 20


class Model(Protocol):
    """What the engine gives for a sequence."""

    vocabulary: Vocabulary
    can_shift: bool

    @property
    def adapters(self) -> tuple[str, ...]:
        """The digests of the LoRA files that are loaded."""

    def sampler(self, frame: Generate, prompt: list[int], context: int) -> Sampler:
        """What chooses the tokens. Raises BadRequest."""

    def probabilities(self, top: int) -> Probabilities:
        """What tells how likely they were."""

    def logits(self, row: int) -> Any:
        """A C pointer to the floats of `row` of the last decode, which may be written to."""


class SequenceMaker:
    """Makes sequences of at most `context` tokens."""

    def __init__(self, model: Model, context: int) -> None:
        self._model = model
        self._vocabulary = model.vocabulary
        self._context = context
        self._guides = Guides(model.vocabulary)

    def make(self, frame: Generate, text: bytes, now: int) -> Sequence:
        """The sequence that `frame` asks for, after the prompt `text`. Raises BadRequest, ContextOverflow."""
        context = min(frame.context or self._context, self._context)
        for token in frame.sampling.logit_bias:
            self._check(token, "logit_bias")
        refuse_unloaded(frame.adapters, self._model.adapters)
        prompt = self._prompt(frame, text, context)
        wishes = self._wishes(frame)
        guide = self._guide(frame)
        sampler = self._model.sampler(frame, prompt.tokens, context)
        if guide is not None:
            sampler = Guided(sampler, guide, self._model.logits, self._vocabulary.size)
        return Sequence(frame, prompt, sampler, now, wishes)

    # ------------------------------------------------------------ the prompt

    def _prompt(self, frame: Generate, text: bytes, context: int) -> Prompt:
        """Where the sequence begins, with fewer than `context` tokens."""
        prefix = self._prefix(frame.prefix)
        if not frame.truncate:
            self._refuse_unread(frame, text, len(prefix), context)
        utf8(text)
        if frame.truncate and len(text) > _LONG_TEXT and len(text) > _MOST_BYTES * context:
            return self._ends(frame, text, prefix, context)
        add_special = frame.add_bos and not prefix
        tokens, count = self._vocabulary.tokenize(text, add_special, max(context - len(prefix), 0))
        needed = len(prefix) + count
        cut = None
        if needed >= context:
            if not frame.truncate:
                raise ContextOverflow(needed, context, frame.context_source)
            tokens, _ = self._vocabulary.tokenize(text, add_special, count)
            tokens, cut = self._cut(frame, prefix + tokens, context, needed)
        else:
            tokens = prefix + tokens
        return self._begun(frame, tokens or [self._first()], context, cut)

    def _begun(self, frame: Generate, tokens: list[int], context: int, cut: Cut | None) -> Prompt:
        keep = self._head(frame, len(tokens), context) if frame.shift and self._model.can_shift else -1
        return Prompt(tokens, context, keep, cut)

    def _ends(self, frame: Generate, text: bytes, prefix: list[int], context: int) -> Prompt:
        """The prompt of a text so long that its middle is certain to go and is not even read."""
        reach = _MOST_BYTES * context // 2
        front, back = text[:reach], text[-reach:]
        while front and front[-1] & 0xC0 == 0x80:
            front = front[:-1]
        head = self._all(front[:-1] if front and front[-1] >= 0xC0 else front, frame.add_bos and not prefix)
        tail = self._all(back.lstrip(bytes(range(0x80, 0xC0))), False)
        least = (len(text) - 2 * reach) // self._vocabulary.longest if self._vocabulary.longest else 0
        needed = len(prefix) + len(head) + least + len(tail)
        tokens, cut = self._cut(frame, prefix + head + tail, context, needed)
        return self._begun(frame, tokens, context, cut)

    def _all(self, text: bytes, add_special: bool) -> list[int]:
        """All tokens of `text`."""
        return self._vocabulary.tokenize(text, add_special, len(text) + 2)[0]

    def _refuse_unread(self, frame: Generate, text: bytes, prefix: int, context: int) -> None:
        """Raises ContextOverflow for a text that cannot fit whatever its tokens are."""
        longest = self._vocabulary.longest
        if longest and len(text) // longest + prefix >= context:
            raise ContextOverflow(len(text) // longest + prefix, context, frame.context_source)

    def _cut(self, frame: Generate, tokens: list[int], context: int, needed: int) -> tuple[list[int], Cut]:
        """`tokens` without their middle; `needed` were sent."""
        keep = self._head(frame, len(tokens), context)
        length = after_cutting(keep, context)
        if length < 1:
            raise ContextOverflow(needed, context, frame.context_source)
        kept = tokens[:keep] + tokens[len(tokens) - (length - keep) :]
        return kept, Cut(frame.id, needed, len(kept), context, frame.context_source)

    def _head(self, frame: Generate, prompt: int, context: int) -> int:
        return head(frame.num_keep, self._vocabulary.adds_bos, prompt, context)

    def _first(self) -> int:
        if self._vocabulary.bos is None:
            raise BadRequest("the prompt is empty, and this model has no token to begin a text with", "prompt")
        return self._vocabulary.bos

    def _prefix(self, data: bytes) -> list[int]:
        if len(data) % 4:
            raise BadRequest("context must hold 32-bit token ids", "context")
        prefix = array("i", data).tolist()
        for token in prefix:
            self._check(token, "context")
        return prefix

    def _check(self, token: int, field: str) -> None:
        if not 0 <= token < self._vocabulary.size:
            raise BadRequest(f"{field} names token {token}; this model's are 0 to {self._vocabulary.size - 1}", field)

    # ------------------------------------------------------------ what else was asked

    def _wishes(self, frame: Generate) -> Wishes | None:
        """None when nothing was asked that needs work with every token."""
        shown = self._shown(frame.markers)
        budget, ending, closing = self._budget(frame)
        if frame.logprobs > _MOST_ALTERNATIVES:
            raise BadRequest(f"top_logprobs must be between 0 and {_MOST_ALTERNATIVES}", "top_logprobs")
        probabilities = self._model.probabilities(frame.logprobs) if frame.logprobs >= 0 else None
        if not shown and budget is None and probabilities is None:
            return None
        return Wishes(shown, budget, ending, closing, probabilities)

    def _guide(self, frame: Generate) -> Guide | None:
        """What keeps the answer within its constraint."""
        if frame.constraint is None:
            return None
        thinking = frame.thinking
        anywhere = thinking is not None and self._anywhere(frame, thinking)
        return self._guides.guide(frame.constraint, thinking, self._shown(frame.markers), anywhere=anywhere)

    def _shown(self, markers: tuple[str, ...]) -> dict[int, Token]:
        found = (self._vocabulary.marker(text) for text in markers)
        return {token.id: token for token in found if token is not None}

    def _budget(self, frame: Generate) -> tuple[Budget | None, list[int], int]:
        """What counts, the tokens that end thinking, and the token that is its closing tag, or -1."""
        thinking = frame.thinking
        if thinking is None or thinking.budget < 0:
            return None, [], -1
        anywhere = self._anywhere(frame, thinking)
        ending = (thinking.ending or thinking.close).encode()
        tokens, _ = self._vocabulary.tokenize(ending, False, len(ending))
        closing, count = self._vocabulary.tokenize(thinking.close.encode(), False, 1)
        return Budget(thinking, anywhere=anywhere), tokens, closing[0] if count == 1 else -1

    def _anywhere(self, frame: Generate, thinking: Thinking) -> bool:
        """Whether a control token opens thinking, which may then happen more than once."""
        return any(marker and thinking.open.startswith(marker) for marker in self._controls(frame, thinking))

    def _controls(self, frame: Generate, thinking: Thinking) -> list[str]:
        """The markers that are control tokens here, those of thinking that is one token excepted."""
        return [text for text in frame.markers if text != thinking.open and self._vocabulary.marker(text) is not None]


def utf8(text: bytes) -> bytes:
    """`text` itself. Raises BadRequest when it is not UTF-8, which the native tokenizer would not survive."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the prompt is not UTF-8 at byte {error.start}", "prompt") from error
    return text
