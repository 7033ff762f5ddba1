"""The intake on a scripted vocabulary: what the real one does not do on demand."""

from __future__ import annotations

import threading

from powerd.protocol import Cancel, Count, Counted, Cut, Failed, Finished, Generate, Part
from powerd.runner.inputs import InputMaker
from powerd.runner.intake import Intake
from powerd.runner.pooling import Job
from powerd.runner.sequence import Sequence
from powerd.vectors import Embed
from tests.runner.letters import LetterModel

LONG = "x" * 100_000


class Rig:
    def __init__(self, context: int = 200_000) -> None:
        model = LetterModel()
        self.letters = model.letters
        self.admitted: list[Sequence | Job | Cancel] = []
        self.answers: list[Counted | Cut | Failed | Finished] = []
        self.done = threading.Event()
        sequences, inputs = model.maker(context), InputMaker(model.vocabulary, context)

        def make(frame: Generate | Embed, text: bytes, now: int) -> Sequence | Job:
            return inputs.make(frame, text) if isinstance(frame, Embed) else sequences.make(frame, text, now)

        self.intake = Intake(model.vocabulary, make, self.admit, self.answer, lambda: 0)

    def admit(self, made: Sequence | Job | Cancel) -> None:
        self.admitted.append(made)
        self.done.set()

    def answer(self, made: Counted | Cut | Failed | Finished) -> None:
        self.answers.append(made)
        self.done.set()


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


def test_a_long_input_cancelled_meanwhile_never_reaches_the_engine() -> None:
    rig = Rig()
    rig.letters.may_go_on.clear()
    rig.intake.embed(Embed(1, LONG))
    rig.intake.cancel(Cancel(1))
    rig.letters.may_go_on.set()
    assert rig.done.wait(10)
    assert rig.answers == [Failed(1, "cancelled", "the request was cancelled")]
    assert not rig.admitted


def test_an_input_is_admitted_as_a_job_and_a_broken_one_refused() -> None:
    rig = Rig()
    rig.intake.embed(Embed(1, "ok"))
    (job,) = rig.admitted
    assert isinstance(job, Job)
    rig.intake.embed(Embed(2, "", parts=2))
    (failed,) = rig.answers
    assert isinstance(failed, Failed)
    assert "2 parts of the text were announced and 0 came" in failed.message


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


def test_a_cut_goes_out_before_its_sequence_comes_in() -> None:
    rig = Rig(context=100)
    rig.intake.generate(Generate(1, "x" * 500, truncate=True, context_source="the test"))
    assert rig.answers == [Cut(1, 501, 51, 100, "the test")]
    (made,) = rig.admitted
    assert isinstance(made, Sequence)
    assert len(made.prompt) == 51


def test_texts_are_counted_whole_in_parts_and_aside() -> None:
    rig = Rig(context=10)
    rig.intake.count(Count(1, "abc"))
    rig.intake.part(Part(2, b"ab"))
    rig.intake.part(Part(2, b"cd"))
    rig.intake.count(Count(2, parts=2, add_bos=False))
    assert rig.answers == [Counted(1, 4), Counted(2, 4)]
    rig.done.clear()
    rig.intake.count(Count(3, LONG, add_bos=False))
    assert rig.done.wait(10)
    assert rig.answers[2:] == [Counted(3, 100_000)]


def test_a_count_that_goes_wrong_is_answered_too() -> None:
    rig = Rig()
    rig.intake.count(Count(1, "abc!"))
    rig.intake.count(Count(2, parts=1))
    rig.intake.part(Part(3, b"\xff"))
    rig.intake.count(Count(3, parts=1))
    assert [(answer.id, type(answer)) for answer in rig.answers] == [(1, Failed), (2, Failed), (3, Failed)]
