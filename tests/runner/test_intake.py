"""The intake on a scripted vocabulary: what the real one does not do on demand."""

from __future__ import annotations

import threading
from array import array
from typing import cast

from powerd.protocol import Cancel, Failed, Finished, Generate
from powerd.runner.intake import Intake
from powerd.runner.sequence import Sequence
from powerd.runner.vocabulary import Vocabulary

LONG = "x" * 100_000


class Letters:
    """Every byte is a token; 999 comes first when the text may begin. A text with `!` breaks it."""

    size = 1000
    bos: int | None = None
    longest = 0

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def tokenize(self, text: bytes, add_special: bool, room: int) -> tuple[list[int], int]:
        assert self.may_go_on.wait(10)
        if b"!" in text:
            raise MemoryError("too much")
        tokens = [999, *text] if add_special else list(text)
        return (tokens if len(tokens) <= room else []), len(tokens)


class Sampler:
    def draw(self, row: int) -> int:
        raise AssertionError(row)

    def close(self) -> None:
        """Nothing to free."""


class Rig:
    def __init__(self, context: int = 200_000) -> None:
        self.letters = Letters()
        self.admitted: list[Sequence | Cancel] = []
        self.answers: list[Failed | Finished] = []
        self.done = threading.Event()
        self.intake = Intake(
            cast(Vocabulary, self.letters),
            lambda _sampling, _prompt, _context: Sampler(),
            context,
            self.admit,
            self.answer,
            lambda: 0,
        )

    def admit(self, made: Sequence | Cancel) -> None:
        self.admitted.append(made)
        self.done.set()

    def answer(self, made: Failed | Finished) -> None:
        self.answers.append(made)
        self.done.set()

    def prompt(self, **fields: object) -> list[int]:
        self.intake.generate(Generate(1, **fields))  # type: ignore[arg-type]  # the fields a test names
        (made,) = self.admitted
        assert isinstance(made, Sequence)
        return made.prompt


def test_the_first_token_is_added_to_a_text_and_not_after_a_prefix() -> None:
    assert Rig().prompt(prompt="ab") == [999, 97, 98]
    assert Rig().prompt(prompt="ab", add_bos=False) == [97, 98]
    assert Rig().prompt(prompt="ab", prefix=array("i", [5, 6]).tobytes()) == [5, 6, 97, 98]


def test_an_empty_prompt_without_a_first_token_is_refused() -> None:
    rig = Rig()
    rig.intake.generate(Generate(1, add_bos=False))
    (failed,) = rig.answers
    assert isinstance(failed, Failed)
    assert failed.code == "bad_request"


def test_a_surprise_fails_that_request_only() -> None:
    rig = Rig()
    rig.intake.generate(Generate(1, "!"))
    rig.intake.generate(Generate(2, "ok"))
    (failed,) = rig.answers
    assert isinstance(failed, Failed)
    assert (failed.id, failed.code) == (1, "error")
    assert len(rig.admitted) == 1


def test_a_short_request_overtakes_a_long_text() -> None:
    rig = Rig()
    rig.letters.may_go_on.clear()
    rig.intake.generate(Generate(1, LONG))
    rig.intake.cancel(Cancel(7))
    assert rig.admitted == [Cancel(7)]
    rig.letters.may_go_on.set()


def test_a_long_text_cancelled_meanwhile_never_reaches_the_engine() -> None:
    rig = Rig()
    rig.letters.may_go_on.clear()
    rig.intake.generate(Generate(1, LONG))
    rig.intake.cancel(Cancel(1))
    rig.letters.may_go_on.set()
    assert rig.done.wait(10)
    (finished,) = rig.answers
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.prompt_tokens) == ("cancel", 100_001)
    assert not rig.admitted


def test_an_id_whose_text_is_still_read_is_in_use() -> None:
    rig = Rig()
    rig.letters.may_go_on.clear()
    rig.intake.generate(Generate(1, LONG))
    rig.intake.generate(Generate(1, "short"))
    (failed,) = rig.answers
    assert isinstance(failed, Failed)
    assert "in use" in failed.message
    rig.done.clear()
    rig.letters.may_go_on.set()
    assert rig.done.wait(10)
    assert len(rig.admitted) == 1


def test_a_text_longer_than_all_tokens_together_is_not_even_tokenised() -> None:
    rig = Rig(context=100)
    rig.letters.longest = 10
    rig.letters.may_go_on.clear()
    rig.intake.generate(Generate(1, "x" * 5000, context_source="the test"))
    (failed,) = rig.answers
    assert isinstance(failed, Failed)
    assert (failed.code, failed.needed, failed.limit, failed.limit_source) == ("context_overflow", 500, 100, "the test")
