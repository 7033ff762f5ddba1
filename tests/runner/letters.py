"""A model without an engine, for what stands between a frame and a sequence."""

from __future__ import annotations

import threading
from typing import cast

from powerd.protocol import Generate, Logprob
from powerd.runner.making import SequenceMaker
from powerd.runner.token import Token
from powerd.runner.vocabulary import Vocabulary

BOS = 999


class Letters:
    """Every byte is a token; 999 comes first when the text may begin. A text with `!` breaks it."""

    size = 1000
    bos: int | None = None
    longest = 0
    adds_bos = True

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.markers: dict[str, Token] = {}
        self.sizes: list[int] = []  # bytes of the texts it was given

    def tokenize(self, text: bytes, add_special: bool, room: int) -> tuple[list[int], int]:
        assert self.may_go_on.wait(10)
        self.sizes.append(len(text))
        if b"!" in text:
            raise MemoryError("too much")
        tokens = [BOS, *text] if add_special else list(text)
        return (tokens if len(tokens) <= room else []), len(tokens)

    def marker(self, text: str) -> Token | None:
        return self.markers.get(text)


class Told:
    """Probabilities that say which row was looked at."""

    def __init__(self) -> None:
        self.row = -1

    def look(self, row: int) -> None:
        self.row = row

    def of(self, token: int) -> Logprob:
        return Logprob(bytes([token % 256]), -float(self.row))


class Drawn:
    """Draws the tokens it was given, and notes those it was made to take."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = list(tokens)
        self.taken: list[int] = []
        self.closed = False

    def draw(self, row: int) -> int:
        return self.tokens.pop(0)

    def take(self, token: int) -> None:
        self.taken.append(token)

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class LetterModel:
    """What the engine gives for a sequence."""

    can_shift = True
    adapters: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.letters = Letters()
        self.vocabulary = cast(Vocabulary, self.letters)

    def sampler(self, frame: Generate, prompt: list[int], context: int) -> Drawn:
        return Drawn()

    def probabilities(self, top: int) -> Told:
        return Told()

    def logits(self, row: int) -> object:
        raise AssertionError(row)

    def maker(self, context: int) -> SequenceMaker:
        return SequenceMaker(self, context)
