"""A sequence: what it counts, when it ends, and what its terminal frame says."""

from __future__ import annotations

from array import array

import msgspec

from powerd.protocol import Generate, Row
from powerd.runner.sequence import Prompt, Sequence
from powerd.runner.token import Token


class NoSampler:
    def draw(self, row: int) -> int:
        raise AssertionError(row)

    def take(self, token: int) -> None:
        raise AssertionError(token)

    def close(self) -> None:
        """Nothing to free."""


def sequence(prompt: int = 3, context: int = 100, **frame: object) -> Sequence:
    generate = msgspec.convert({"id": 1, "repeat_limit": 30} | frame, Generate)
    return Sequence(generate, Prompt(list(range(prompt)), context), NoSampler(), 0)


def token(text: str, number: int = 9) -> Token:
    return Token(number, text.encode(), text.encode().strip(), False)


END = Token(2, b"", b"", True)


def test_text_goes_out_with_the_tokens_it_stands_for() -> None:
    made = sequence(stop=("xyz",))
    assert made.accept(token("hi")) == Row(1, "hi", 1)
    assert made.accept(token("x")) is None
    assert made.accept(token("y")) is None
    assert made.accept(token("!")) == Row(1, "xy!", 3)


def test_an_end_token_stops_without_text_and_is_counted() -> None:
    made = sequence(want_tokens=True)
    made.accept(token("hi", 7))
    assert made.accept(END) is None
    done = made.finished(10)
    assert (done.reason, done.output_tokens, done.stop_text) == ("stop", 2, "")
    assert array("i", done.tokens).tolist() == [0, 1, 2, 7]


def test_a_stop_string_ends_it_and_is_named() -> None:
    made = sequence(stop=("END",))
    made.accept(token("aE"))
    assert made.accept(token("ND and more")) is None
    assert (made.finished(10).reason, made.finished(10).stop_text) == ("stop", "END")


def test_num_predict_ends_it() -> None:
    made = sequence(num_predict=2)
    made.accept(token("a"))
    assert made.reason is None
    made.accept(token("b"))
    assert made.reason == "length"


def test_held_text_is_sent_when_the_length_ends_it() -> None:
    made = sequence(num_predict=1, stop=("abc",))
    assert made.accept(token("ab")) == Row(1, "ab", 1)


def test_the_context_ends_it_whatever_num_predict_says() -> None:
    for wish in (0, -1, -2, 1000):
        made = sequence(prompt=90, num_predict=wish)
        for number in range(10):
            made.accept(token(f"t{number}"))
        assert (made.reason, len(made.answer)) == ("length", 10)


def test_more_than_the_limit_of_equal_tokens_ends_it() -> None:
    made = sequence()
    for _ in range(30):
        made.accept(token(" la"))
    assert made.reason is None
    made.accept(token("la "))  # equal once trimmed
    assert made.reason == "repeat"


def test_other_tokens_between_begin_the_count_anew() -> None:
    made = sequence(repeat_limit=3)
    for text in ("la", "la", "la", "x", "la", "la", "la"):
        made.accept(token(text))
    assert made.reason is None


def test_a_limit_of_zero_lets_it_repeat() -> None:
    made = sequence(repeat_limit=0)
    for _ in range(60):
        made.accept(token("la"))
    assert made.reason is None


def test_cancelling_sends_what_was_held_back() -> None:
    made = sequence(stop=("abc",))
    made.accept(token("ab"))
    assert made.cancel() == Row(1, "ab", 1)
    assert made.finished(5).reason == "cancel"


def test_position_is_the_number_of_cells_in_use() -> None:
    made = sequence(prompt=3)
    made.fed = 2
    assert (made.position, made.remaining) == (2, 1)
    made.fed = 3
    made.accept(token("a"))
    assert made.position == 3  # the token just drawn is not decoded yet
    made.accept(token("b"))
    assert made.position == 4


def test_times_run_from_the_first_prompt_token_and_the_first_answer_token() -> None:
    made = sequence()
    made.started_at = 100
    made.accept(token("a"))
    made.first_token_at = 130
    made.accept(END)
    done = made.finished(200)
    assert (done.prompt_ns, done.output_ns) == (30, 70)


def test_more_ids_than_a_frame_takes_are_left_out() -> None:
    made = sequence(prompt=65_000, context=70_000, want_tokens=True)
    made.accept(END)
    assert made.finished(1).tokens == b""


def test_a_deadline_counts_from_receipt() -> None:
    assert sequence(deadline=2.0).deadline == 2e9
    assert sequence().deadline == float("inf")


def stands(made: Sequence) -> tuple[str | None, int]:
    return made.reason, made.position


def shifting(**frame: object) -> Sequence:
    generate = msgspec.convert({"id": 1, "repeat_limit": 0} | frame, Generate)
    made = Sequence(generate, Prompt(list(range(10)), 20, keep=4), NoSampler(), 0)
    made.fed = 10
    return made


def test_a_full_context_that_may_shift_goes_on_from_where_its_older_half_went() -> None:
    made = shifting(stop=("xyz",))
    for _ in range(9):
        made.accept(token("x"))
    assert made.reason is None
    assert made.accept(token("y")) is None  # what is held back stays held back
    assert stands(made) == ("full", 19)
    assert made.make_room() == (4, 7)
    assert (stands(made), made.shifted) == ((None, 12), 7)
    for _ in range(7):
        assert made.reason is None
        made.accept(token("a"))
    assert stands(made) == ("full", 19)


def test_a_shifting_answer_ends_at_its_limit_or_after_ten_contexts() -> None:
    for wish, length in ((10, 10), (33, 33), (500, 500), (-1, 200)):
        made = shifting(num_predict=wish)
        while made.reason != "length":
            made.accept(token("a"))
            if made.reason == "full":
                made.make_room()
            assert made.position < 20
        assert len(made.answer) == length
        assert made.finished(1).shifted == made.shifted
