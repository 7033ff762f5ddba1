"""Thoughts that a client sends back as part of an answer's text (contract section 8.1)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from powerd.protocol import Message

_OPEN, _CLOSE = "<think>", "</think>"


def forgotten(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages, in which answers before the last turn of the user no longer begin with `<think>…</think>`.

    Thoughts that were never closed are all there is of their answer.
    """
    last = max((at for at, message in enumerate(messages) if message.role == "user"), default=0)
    return tuple(_without(message) if at < last else message for at, message in enumerate(messages))


def _without(message: Message) -> Message:
    text = message.content.lstrip()
    if message.role != "assistant" or not text.startswith(_OPEN):
        return message
    return replace(message, content=text.partition(_CLOSE)[2].lstrip())
