"""What each failure is in HTTP: one table for every dialect, and the head every refusal shares (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from powerd import errors

#: The class's own entry, else its nearest ancestor's. 500 stays for the two texts Ollama's clients know
#: (`model failed to load:` and `runner:`).
STATUS: Mapping[type[errors.PowerError], int] = MappingProxyType(
    {
        errors.BadRequest: 400,
        errors.Forbidden: 403,
        errors.NotFound: 404,
        errors.Conflict: 409,
        errors.TooLarge: 413,
        errors.Cancelled: 499,
        errors.LoadFailed: 500,
        errors.RunnerDied: 500,
        errors.SourceFailed: 502,
        errors.Busy: 503,
        errors.BackendUnavailable: 503,
        errors.StoreFailed: 503,
        errors.Timeout: 504,
        errors.NoSpace: 507,
        errors.PowerError: 503,
    }
)


class Refusal(Exception):
    """HTTP itself was used wrongly; there is a status and a text, and no failure of ours behind it.

    `plain` ones are answered as bare text in every dialect, as Ollama's router does.
    """

    def __init__(
        self, status: int, message: str, headers: Mapping[str, str] = MappingProxyType({}), *, plain: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers
        self.plain = plain

    @classmethod
    def no_page(cls) -> Refusal:
        """There is nothing at this path."""
        return cls(404, "404 page not found", plain=True)


def status_of(error: errors.PowerError | Refusal) -> int:
    """The status a failure is answered with before the first byte went out."""
    if isinstance(error, Refusal):
        return error.status
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def headers_of(error: errors.PowerError | Refusal) -> dict[str, str]:
    """The headers that belong to a failure: when to come back, which methods there are."""
    if isinstance(error, Refusal):
        return dict(error.headers)
    if isinstance(error, errors.Busy):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    return {}
