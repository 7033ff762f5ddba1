"""The short routes' answers. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from powerd.api.answer import Output
from powerd.api.ask import Timing
from powerd.api.status import Refusal
from powerd.errors import PowerError
from powerd.protocol import Finished


def error_body(error: PowerError | Refusal) -> bytes:
    """`{"detail": "...", "error": "..."}`: such servers use the first, everybody else here the second."""
    return msgspec.json.encode({"detail": error.message, "error": error.message})


class ChatFrames:
    """The one object of a POST /chat, which is never streamed."""

    content_type = "application/json"

    def __init__(self, model: str) -> None:
        self._model = model

    def chunk(self, output: Output, now: int) -> bytes:
        """Nothing: there is no stream."""
        return b""

    def last(self, finished: Finished, timing: Timing) -> bytes:
        """The end of a stream there is none of."""
        return self.whole(Output(), finished, timing)

    def failed(self, error: PowerError | Refusal) -> bytes:
        """The failure."""
        return error_body(error)

    def whole(self, output: Output, finished: Finished, timing: Timing) -> bytes:
        """The answer, and what it took in nanoseconds."""
        message = {"role": "assistant", "content": output.content}
        thinking = {"thinking": output.thinking} if output.thinking else {}
        return msgspec.json.encode(
            {
                "model": self._model,
                "created_at": datetime.fromtimestamp(timing.now / 1e9, UTC).isoformat().replace("+00:00", "Z"),
                "message": message | thinking,
                "done": True,
                "done_reason": finished.reason,
                "total_duration": timing.total,
                "load_duration": timing.load,
                "prompt_eval_count": finished.prompt_tokens,
                "prompt_eval_duration": finished.prompt_ns,
                "eval_count": finished.output_tokens,
                "eval_duration": finished.output_ns,
            }
        )
