"""Prompts of a given number of words, the same for every contestant."""

from __future__ import annotations

import random

from tests.gguf_maker import WORDS


def prompt(words: int, seed: int) -> str:
    """`words` common words; with the bench model's vocabulary each is one token."""
    generator = random.Random(seed)
    return " ".join(generator.choice(WORDS) for _ in range(words))
