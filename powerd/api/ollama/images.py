"""Attachments as Ollama's requests carry them: bare standard base64 (contract sections 1.2 and 1.4; pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from powerd.errors import BadRequest

_PLAIN = re.compile(r"[A-Za-z0-9+/]*", re.ASCII)


def check(images: Iterable[str], field: str) -> None:
    """Raises BadRequest in Go's words for the first text that is not base64."""
    for index, image in enumerate(images):
        wrong = _wrong(image)
        if wrong >= 0:
            raise BadRequest(f"illegal base64 data at input byte {wrong}", f"{field}[{index}]")


def _wrong(text: str) -> int:
    """The first byte that base64 cannot have there, -1 for none. As Go has it, line ends do not count."""
    if "\n" in text or "\r" in text:
        text = text.replace("\r", "").replace("\n", "")
    match = _PLAIN.match(text)
    end = match.end() if match else 0
    padding = text[end:]
    missing = -end % 4
    if padding == "=" * missing and missing < 3:
        return -1
    if not padding:
        return end
    good = len(padding) - len(padding.lstrip("="))
    return end if missing in (0, 3) else end + min(good, missing)
