"""What stands between a sequence and its sampler when more than text was asked for."""

from __future__ import annotations

from powerd.protocol import Generate, Likely, Logprob, Row, Thinking
from powerd.runner.extras import Extras, Wishes
from powerd.runner.sequence import Prompt, Sequence
from powerd.runner.thinking import Budget
from powerd.runner.token import Token
from tests.runner.letters import Drawn, Told

HIDDEN = Token(7, b"", b"", False)
END = Token(2, b"", b"", True)


def token(text: str, number: int = 9) -> Token:
    return Token(number, text.encode(), text.encode(), False)


def drawn(sequence: Sequence, text: str, row: int = 0) -> Row | None:
    """One step in which the sampler draws `text`."""
    assert isinstance(sequence.sampler, Drawn)
    sequence.sampler.tokens.append(9)
    return sequence.accept(token(text, sequence.draw(row)))


def sequence(wishes: Wishes, **fields: object) -> Sequence:
    frame = Generate(1, **fields)  # type: ignore[arg-type]  # the fields a test names
    return Sequence(frame, Prompt([1], 100), Drawn(), 0, wishes)


def test_a_shown_token_is_text_like_any_other() -> None:
    shown = {7: Token(7, b"<x>", b"<x>", False), 2: Token(2, b"<end>", b"<end>", True)}
    made = sequence(Wishes(shown))
    assert made.accept(HIDDEN) == Row(1, "<x>", 1)
    assert made.accept(END) == Row(1, "<end>", 1)
    assert made.reason == "stop"


def test_probabilities_travel_with_the_text_they_are_of() -> None:
    made = sequence(Wishes({}, probabilities=Told()), stop=("ab",))
    assert drawn(made, "x", row=3) == Row(1, "x", 1, [Logprob(b"\t", -3.0)])
    assert drawn(made, "a", row=4) is None
    assert drawn(made, "c", row=5) == Row(1, "ac", 2, [Logprob(b"\t", -4.0), Logprob(b"\t", -5.0)])


def test_the_token_that_ends_an_answer_is_not_told() -> None:
    made = sequence(Wishes({}, probabilities=Told()), stop=("ab",))
    drawn(made, "a")
    made.sampler = Drawn(2)
    assert made.accept(END) == Row(1, "a", 2, [Logprob(b"\t", 0.0)])


def test_probabilities_of_invisible_tokens_go_out_before_they_are_too_many() -> None:
    class Many(Told):
        def of(self, token: int) -> Logprob:
            return Logprob(b"x" * 512, 0.0, [Likely(b"x" * 512, 0.0)] * 20)

    made = sequence(Wishes({}, probabilities=Many()), repeat_limit=0)
    rows = [drawn(made, "") for _ in range(20)]
    sizes = [len(row.logprobs) for row in rows if row is not None]
    assert sizes == [6, 6, 6]


def test_thinking_beyond_its_budget_is_ended_and_the_sampler_hears_of_it() -> None:
    sampler = Drawn(10, 11, 12, 13)
    budget = Budget(Thinking("<t>", "</t>", inside=True, budget=2))
    extras = Extras(Wishes({}, budget, (50, 51)), sampler)
    seen = []
    for _ in range(6):
        seen.append(extras.draw(0))
        extras.see(token("</t>" if seen[-1] == 51 else "hm", seen[-1]))
    assert seen == [10, 11, 50, 51, 12, 13]
    assert sampler.taken == [50, 51]


def test_the_tag_by_which_the_model_closes_its_thinking_all_the_same_is_not_shown() -> None:
    budget = Budget(Thinking("<t>", "</t>", inside=True, budget=1))
    extras = Extras(Wishes({}, budget, (50,), closing=50), Drawn(10, 11, 50, 12, 50))
    texts = {10: "hm", 11: "more", 50: "</t>", 12: "so"}
    shown = []
    for _ in range(6):
        number = extras.draw(0)
        shown.append(extras.see(token(texts[number], number)).piece.decode())
    assert shown == ["hm", "</t>", "more", "", "so", "</t>"]


def test_an_ending_that_does_not_close_is_said_once() -> None:
    sampler = Drawn(*[10] * 8)
    extras = Extras(Wishes({}, Budget(Thinking("<t>", "</t>", inside=True, budget=0)), (50,)), sampler)
    seen = []
    for _ in range(5):
        seen.append(extras.draw(0))
        extras.see(token("hm", seen[-1]))
    assert seen == [50, 10, 10, 10, 10]
