"""The exit codes of powerctl, and the failures that lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

DONE = 0
FAILED = 1
CHANGES = 2
USAGE = 64
UNREACHABLE = 69
INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE


class Failed(Exception):
    """A verb could not do its work; `message` is for the person at the terminal."""

    code: ClassVar[int] = FAILED

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unreachable(Failed):
    """No daemon answers on the control socket."""

    code = UNREACHABLE


class Refused(Failed):
    """The daemon answered with an error; `status` is its HTTP status, `document` the answer where it is an object."""

    def __init__(self, message: str, status: int, document: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.document = document or {}
