"""How a template fails, whatever its syntax."""

from __future__ import annotations

MAX_OUTPUT = 4 * 1024 * 1024  # bytes of UTF-8 that one template may write
_MAX_REASON = 500  # characters of an error text that may come from the template itself


class TemplateFailed(ValueError):
    """The template refused or could not run. The text begins `template error: ` and ends with the line, if known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        if len(reason) > _MAX_REASON:
            reason = reason[:_MAX_REASON] + "…"
        reason = reason.encode("utf-8", "backslashreplace").decode("utf-8")
        super().__init__(f"template error: {reason}" + (f" (line {line})" if line else ""))
        self.line = line
