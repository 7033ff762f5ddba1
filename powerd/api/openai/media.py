"""Pictures and sounds among the parts of a message (contract section 11.1; pure).

No model here takes them yet, so they are judged and not kept. Nothing is ever fetched.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

from powerd.errors import BadRequest

KINDS = ("image_url", "input_image", "input_audio")
_HEADS = tuple(f"data:{kind};base64," for kind in ("image/jpeg", "image/jpg", "image/png", "image/webp", ""))


def check(part: Mapping[str, Any], place: str) -> None:
    """Raises BadRequest in Ollama's words for a part that no model could take."""
    if part["type"] == "input_audio":
        sound = part.get("input_audio")
        data = sound.get("data") if isinstance(sound, dict) else None
        _check_data(_text(data, place), f"{place}: invalid input_audio", place)
        return
    url = part.get("image_url")
    text = _text(url.get("url") if isinstance(url, dict) else url, place)
    if text.startswith(("http://", "https://")):
        raise BadRequest(
            f"{place}: image URLs are not currently supported, please use base64 encoded data instead", place
        )
    head = next((head for head in _HEADS if text.startswith(head)), None)
    if head is None:
        raise BadRequest(f"{place}: invalid image input", place)
    _check_data(text[len(head) :], f"{place}: invalid image input", place)


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{place}: invalid message format", place)
    return value


def _check_data(text: str, refusal: str, place: str) -> None:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise BadRequest(refusal, place) from None
