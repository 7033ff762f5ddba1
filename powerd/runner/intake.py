"""From a Generate frame to a tokenised sequence, or to its refusal, without troubling the engine.

Runs in the reading thread. A text that takes long to tokenise goes to a thread of its own, so that cancellations and
short requests behind it are not held up; a text that cannot possibly fit is refused uncounted.
"""

from __future__ import annotations

import logging
import threading
from array import array
from collections.abc import Callable
from queue import SimpleQueue

from powerd.errors import BadRequest, ContextOverflow, PowerError
from powerd.protocol import Cancel, Failed, Finished, Generate, Part, Sampling
from powerd.runner.sequence import Sampler, Sequence
from powerd.runner.vocabulary import Vocabulary

_log = logging.getLogger("powerd.runner")
#: Bytes of prompt tokenised in the reading thread, some 10 ms of work.
_SHORT_TEXT = 64 * 1024


ChainMaker = Callable[[Sampling, list[int], int], Sampler]


class Intake:
    """Turns frames into sequences. `admit` hands to the engine, `answer` sends a terminal frame."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        make_chain: ChainMaker,
        context: int,
        admit: Callable[[Sequence | Cancel], None],
        answer: Callable[[Failed | Finished], None],
        clock: Callable[[], int],
    ) -> None:
        self._vocabulary = vocabulary
        self._make_chain = make_chain
        self._context = context
        self._admit = admit
        self._answer = answer
        self._clock = clock
        self._parts: dict[int, list[bytes]] = {}
        self._long: SimpleQueue[tuple[Generate, bytes, int]] = SimpleQueue()
        self._lock = threading.Lock()
        self._in_long: dict[int, bool] = {}  # ids in the other thread -> cancelled meanwhile
        threading.Thread(target=self._take_long, name="tokenizer", daemon=True).start()

    def part(self, frame: Part) -> None:
        """Keep a slice of a prompt until its Generate comes."""
        self._parts.setdefault(frame.id, []).append(frame.data)

    def cancel(self, frame: Cancel) -> None:
        """Stop a request wherever it is; an unknown id is ignored."""
        self._parts.pop(frame.id, None)
        with self._lock:
            if frame.id in self._in_long:
                self._in_long[frame.id] = True
                return
        self._admit(frame)

    def generate(self, frame: Generate) -> None:
        """Take a request in."""
        now = self._clock()
        parts = self._parts.pop(frame.id, [])
        if len(parts) != frame.parts:
            reason = f"{frame.parts} parts of the prompt were announced and {len(parts)} came"
            self._answer(Failed(frame.id, "bad_request", reason))
            return
        text = b"".join(parts) if parts else frame.prompt.encode()
        with self._lock:
            duplicate = frame.id in self._in_long
            if not duplicate and len(text) > _SHORT_TEXT:
                self._in_long[frame.id] = False
                self._long.put((frame, text, now))
        if duplicate:
            self._answer(Failed(frame.id, "bad_request", f"request id {frame.id} is in use"))
        elif len(text) <= _SHORT_TEXT:
            self._take(frame, text, now)

    def _take_long(self) -> None:
        while True:
            frame, text, now = self._long.get()
            self._take(frame, text, now)

    def _take(self, frame: Generate, text: bytes, now: int) -> None:
        """Admit the request, or answer it: refused, or cancelled while its text was in the other thread."""
        try:
            made: Sequence | Failed = self._sequence(frame, text, now)
        except ContextOverflow as error:
            made = Failed(frame.id, error.code, error.message, error.needed, error.limit, error.limit_source)
        except PowerError as error:
            made = Failed(frame.id, error.code, error.message)
        except Exception as error:
            _log.exception("request %s could not be taken in", frame.request_id or frame.id)
            made = Failed(frame.id, PowerError.code, f"the runner could not take the request in: {error}")
        with self._lock:
            cancelled = self._in_long.pop(frame.id, False)
            if isinstance(made, Sequence) and not cancelled:
                self._admit(made)
                return
        if isinstance(made, Sequence):
            made.sampler.close()
            made.cancel()
            self._answer(made.finished(now))
        else:
            self._answer(made)

    def _sequence(self, frame: Generate, text: bytes, now: int) -> Sequence:
        context = min(frame.context or self._context, self._context)
        for token in frame.sampling.logit_bias:
            self._check(token, "logit_bias")
        prompt = self._prompt(frame, text, context)
        return Sequence(frame, prompt, context, self._make_chain(frame.sampling, prompt, context), now)

    def _prompt(self, frame: Generate, text: bytes, context: int) -> list[int]:
        """The prompt's tokens, fewer than `context`. Raises BadRequest, ContextOverflow."""
        prefix = self._prefix(frame.prefix)
        longest = self._vocabulary.longest
        if longest and len(text) // longest + len(prefix) >= context:
            raise ContextOverflow(len(text) // longest + len(prefix), context, frame.context_source)
        room = max(context - len(prefix), 0)
        tokens, count = self._vocabulary.tokenize(_utf8(text), frame.add_bos and not prefix, room)
        if len(prefix) + count >= context:
            raise ContextOverflow(len(prefix) + count, context, frame.context_source)
        prompt = prefix + tokens
        if not prompt:
            if self._vocabulary.bos is None:
                raise BadRequest("the prompt is empty, and this model has no token to begin a text with", "prompt")
            prompt = [self._vocabulary.bos]
        return prompt

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


def _utf8(text: bytes) -> bytes:
    """`text` itself. Raises BadRequest when it is not UTF-8, which the native tokenizer would not survive."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the prompt is not UTF-8 at byte {error.start}", "prompt") from error
    return text
