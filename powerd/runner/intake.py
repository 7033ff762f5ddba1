"""From a Generate or Embed frame to a tokenised sequence or input, or to its refusal, without troubling the engine.

Runs in the reading thread. A text that takes long to tokenise goes to a thread of its own, so that cancellations and
short requests behind it are not held up; a text that cannot possibly fit is refused uncounted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from powerd.errors import ContextOverflow, PowerError
from powerd.protocol import Cancel, Count, Counted, Cut, Failed, Finished, Generate, Part
from powerd.runner.making import utf8
from powerd.runner.pooling import Job
from powerd.runner.sequence import Sequence
from powerd.runner.vocabulary import Vocabulary
from powerd.vectors import Embed

_log = logging.getLogger("powerd.runner")
#: Bytes of prompt tokenised in the reading thread, some 10 ms of work.
_SHORT_TEXT = 64 * 1024


#: Makes the sequence of a frame after its text, received at a time. Raises PowerError.
Make = Callable[[Generate | Embed, bytes, int], Sequence | Job]


class Intake:
    """Turns frames into sequences. `admit` hands to the engine, `answer` sends what needs no engine."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        make: Make,
        admit: Callable[[Sequence | Job | Cancel], None],
        answer: Callable[[Counted | Cut | Failed | Finished], None],
        clock: Callable[[], int],
    ) -> None:
        self._vocabulary = vocabulary
        self._make = make
        self._admit = admit
        self._answer = answer
        self._clock = clock
        self._parts: dict[int, list[bytes]] = {}
        self._long: SimpleQueue[tuple[Generate | Embed | Count, bytes, int]] = SimpleQueue()
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
        text = self._joined(frame, frame.prompt)
        if text is not None:
            slow = frame.constraint is not None  # a grammar has to be compiled
            self._start(frame, text, long=slow or len(text) > _SHORT_TEXT)

    def embed(self, frame: Embed) -> None:
        """Take an input in."""
        text = self._joined(frame, frame.text)
        if text is not None:
            self._start(frame, text, long=len(text) > _SHORT_TEXT)

    def _start(self, frame: Generate | Embed, text: bytes, *, long: bool) -> None:
        now = self._clock()
        with self._lock:
            duplicate = frame.id in self._in_long
            if not duplicate and long:
                self._in_long[frame.id] = False
                self._long.put((frame, text, now))
        if duplicate:
            self._answer(Failed(frame.id, "bad_request", f"request id {frame.id} is in use"))
        elif not long:
            self._take(frame, text, now)

    def count(self, frame: Count) -> None:
        """Answer how many tokens a text is."""
        text = self._joined(frame, frame.text)
        if text is not None and len(text) > _SHORT_TEXT:
            self._long.put((frame, text, 0))
        elif text is not None:
            self._take_count(frame, text)

    def _joined(self, frame: Generate | Embed | Count, text: str) -> bytes | None:
        """`text`, or what came in parts instead; None when parts are missing, which is answered."""
        parts = self._parts.pop(frame.id, [])
        if len(parts) != frame.parts:
            reason = f"{frame.parts} parts of the text were announced and {len(parts)} came"
            self._answer(Failed(frame.id, "bad_request", reason))
            return None
        return b"".join(parts) if parts else text.encode()

    def _take_long(self) -> None:
        while True:
            frame, text, now = self._long.get()
            if isinstance(frame, Count):
                self._take_count(frame, text)
            else:
                self._take(frame, text, now)

    def _take_count(self, frame: Count, text: bytes) -> None:
        try:
            _, count = self._vocabulary.tokenize(utf8(text), frame.add_bos, 0)
        except PowerError as error:
            self._answer(Failed(frame.id, error.code, error.message))
        except Exception as error:
            _log.exception("a text could not be counted")
            self._answer(Failed(frame.id, PowerError.code, f"the runner could not count the text: {error}"))
        else:
            self._answer(Counted(frame.id, count))

    def _take(self, frame: Generate | Embed, text: bytes, now: int) -> None:
        """Admit the request, or answer it: refused, or cancelled while its text was in the other thread."""
        try:
            made: Sequence | Job | Failed = self._make(frame, text, now)
        except ContextOverflow as error:
            made = Failed(frame.id, error.code, error.message, error.needed, error.limit, error.limit_source)
        except PowerError as error:
            made = Failed(frame.id, error.code, error.message)
        except Exception as error:
            _log.exception("request %s could not be taken in", getattr(frame, "request_id", "") or frame.id)
            made = Failed(frame.id, PowerError.code, f"the runner could not take the request in: {error}")
        if isinstance(made, Sequence) and made.cut is not None:
            self._answer(made.cut)
        with self._lock:
            cancelled = self._in_long.pop(frame.id, False)
            if not isinstance(made, Failed) and not cancelled:
                self._admit(made)
                return
        if isinstance(made, Sequence):
            made.sampler.close()
            made.cancel()
            self._answer(made.finished(now))
        elif isinstance(made, Job):
            self._answer(Failed(frame.id, "cancelled", "the request was cancelled"))
        else:
            self._answer(made)
