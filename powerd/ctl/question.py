"""What a run asks, and the requests that ask it (contract sections 1.2, 1.3 and 1.5). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Question:
    """A model and how it should answer; None and empty: as the model has it."""

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
    template: str | None = None
    format: object = None
    think: bool | str | None = None
    keep_alive: str | None = None
    truncate: bool | None = None
    dimensions: int | None = None


def generate(question: Question, prompt: str, images: Sequence[str] = ()) -> dict[str, Any]:
    """The body of /api/generate."""
    given = {"system": question.system, "template": question.template, "images": list(images) or None}
    request = {"model": question.model, "prompt": prompt, "options": dict(question.options)}
    return request | _given(given | _shared(question))


def chat(question: Question, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The body of /api/chat."""
    request = {"model": question.model, "messages": list(messages), "options": dict(question.options)}
    return request | _given(_shared(question))


def embed(question: Question, text: str) -> dict[str, Any]:
    """The body of /api/embed."""
    given = {"truncate": question.truncate, "dimensions": question.dimensions, "keep_alive": question.keep_alive}
    return {"model": question.model, "input": text, "options": dict(question.options)} | _given(given)


def load(question: Question) -> dict[str, Any]:
    """The body of /api/generate that only loads."""
    return {"model": question.model, "options": dict(question.options)} | _given({"keep_alive": question.keep_alive})


def _shared(question: Question) -> dict[str, object]:
    return {
        "format": question.format,
        "think": question.think,
        "keep_alive": question.keep_alive,
        "truncate": question.truncate,
    }


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
