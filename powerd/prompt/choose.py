"""Which template a model is served with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from powerd.prompt.generic import TEMPLATE


@dataclass(frozen=True, slots=True)
class Chosen:
    """A Jinja text and where it comes from."""

    text: str
    origin: Literal["owner", "model", "generic"]


def choose(owner: str | None, model: str | None) -> Chosen:
    """The owner's template, else the `tokenizer.chat_template` of the model's GGUF, else the generic one.

    A blank text counts as none.
    """
    if owner and owner.strip():
        return Chosen(owner, "owner")
    if model and model.strip():
        return Chosen(model, "model")
    return Chosen(TEMPLATE, "generic")
