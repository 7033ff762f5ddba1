"""The tree of failures a client can meet: a code and one sentence each, no HTTP.

    PowerError
    ├── BadRequest          the request itself is wrong (names the field in `param`)
    │   ├── ContextOverflow     the prompt does not fit; carries needed, limit and where the limit comes from
    │   └── Unsupported         the model or this version cannot do what was asked
    ├── Forbidden           refused by policy (host, origin, declared model, mutations)
    ├── NotFound            no such model, blob or route target
    ├── Conflict            the state of things forbids it now (declared model, corrupt blob)
    ├── TooLarge            a body over its limit
    ├── Cancelled           the client went away
    ├── Busy                queue full, draining, backing off: come back after `retry_after` seconds
    │   └── DoesNotFit          the memory ledger refuses; message carries the numbers
    ├── BackendUnavailable  llama-cpp-python is not installed
    ├── LoadFailed          the runner could not load the model
    ├── RunnerDied          the runner ended while it owed an answer
    ├── Timeout             a deadline passed
    ├── SourceFailed        bytes could not be had from where they should come from
    ├── NoSpace             the disk cannot take it
    └── StoreFailed         the store could not be read or written

Every dialect maps every class to its own shape; a test walks this tree to prove it.
Messages are finished sentences for the person who reads them: what, where and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class PowerError(Exception):
    """A failure with a stable `code` and a `message` fit for the client."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(PowerError):
    """The request is wrong; `param` names the offending field where there is one."""

    code = "bad_request"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ContextOverflow(BadRequest):
    """The prompt needs `needed` tokens and `limit` are available."""

    code = "context_overflow"

    def __init__(self, needed: int, limit: int, limit_source: str) -> None:
        super().__init__(
            f"the prompt is longer than the context length currently available to the model: request ({needed} tokens) "
            f"exceeds the available context size ({limit} tokens), which comes from {limit_source}; shorten the prompt "
            "or raise the context"
        )
        self.needed = needed
        self.limit = limit
        self.limit_source = limit_source


class Unsupported(BadRequest):
    """The model, or this version of powerd, cannot do what was asked."""

    code = "unsupported"


class Forbidden(PowerError):
    """Refused by policy; the message names the rule and how to change it."""

    code = "forbidden"


class NotFound(PowerError):
    """The thing named does not exist."""

    code = "not_found"


class Conflict(PowerError):
    """The present state forbids it."""

    code = "conflict"


class TooLarge(PowerError):
    """A body, frame or field over its stated limit."""

    code = "too_large"


class Cancelled(PowerError):
    """The client that wanted this has gone."""

    code = "cancelled"


class Busy(PowerError):
    """Not now: try again after `retry_after` seconds."""

    code = "busy"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DoesNotFit(Busy):
    """The memory ledger refuses; the message carries needed and available bytes."""

    code = "does_not_fit"


class BackendUnavailable(PowerError):
    """The inference engine is not installed."""

    code = "backend_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "backend not available: llama-cpp-python is not installed here; install it with `pip install "
            "'powerd[llama]'` (the README has the lines for CUDA, Metal, Vulkan and ROCm) and restart powerd"
        )


class LoadFailed(PowerError):
    """The runner could not load the model; `reason` is the engine's own last word."""

    code = "load_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"model failed to load: {reason}")
        self.reason = reason


class RunnerDied(PowerError):
    """The runner ended while it owed an answer."""

    code = "runner_died"

    def __init__(self, detail: str) -> None:
        super().__init__(f"runner: model runner has unexpectedly stopped: {detail}")


class Timeout(PowerError):
    """A deadline passed before the work was done."""

    code = "timeout"


class SourceFailed(PowerError):
    """Bytes could not be had from their source; the message names the source and its answer."""

    code = "source_failed"


class NoSpace(PowerError):
    """The disk, quota or inode table cannot take it."""

    code = "no_space"


class StoreFailed(PowerError):
    """The store could not be read or written; the message names the path and the system's reason."""

    code = "store_failed"
