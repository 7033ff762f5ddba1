"""A real runner on the bundled model: markers, probabilities, thinking ended in time, cutting and shifting."""

from __future__ import annotations

import json
import subprocess
import sys
from array import array
from collections.abc import Iterator

import pytest

from powerd.protocol import Count, Counted, Cut, Delta, Logprob, Part, Ready, Sampling, Thinking
from tests.gguf_maker import demo_vocabulary
from tests.runner.child import DEMO, ROOT, Answer, Child, chat

pytestmark = pytest.mark.model

CONTEXT = 128
QUESTION = chat("What is 2 + 3?")
STORY = chat("Tell me a story about a fox.")
IM_START, IM_END = "<|im_start|>", "<|im_end|>"
TOKENS = demo_vocabulary().tokens
#: What would end an answer, made impossible.
ENDS = [TOKENS.index(text) for text in ("<|endoftext|>", IM_START, IM_END)]
ENDLESS = Sampling(temperature=0, logit_bias=dict.fromkeys(ENDS, -1e9))
THINKING = Thinking("<think>", "</think>", inside=True, ending="\n</think>\n\n")


@pytest.fixture(scope="module")
def demo() -> Iterator[Child]:
    child = Child()
    assert isinstance(child.load(DEMO, context=CONTEXT), Ready)
    yield child
    child.close()


def raw(
    prompt: str, tokens: int, *, keep: int = 0, top: int = 0, endless: bool = False
) -> list[tuple[int, float, list[tuple[int, float]]]]:
    """What the bare loop draws, and how likely it was."""
    order = {"model": str(DEMO), "prompt": prompt, "tokens": tokens, "context": CONTEXT, "keep": keep, "top": top}
    done = subprocess.run(
        [sys.executable, "-m", "tests.runner.raw"],
        input=json.dumps(order | {"never": ENDS if endless else []}),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found: list[tuple[int, float, list[tuple[int, float]]]] = json.loads(done.stdout)
    return found


def told(child: Child, number: int) -> list[Logprob]:
    """The probabilities that came with an answer."""
    rows = [row for frame in child.said if isinstance(frame, Delta) for row in frame.rows if row.id == number]
    return [logprob for row in rows for logprob in row.logprobs]


def forced(token: int) -> Sampling:
    return Sampling(seed=1, logit_bias={token: 1000.0})


# ---------------------------------------------------------------- markers


def test_markers_are_shown_and_other_control_tokens_are_not(demo: Child) -> None:
    start = forced(TOKENS.index(IM_START))
    assert demo.one(QUESTION, sampling=start, num_predict=3, markers=(IM_START,)).text == IM_START * 3
    assert demo.one(QUESTION, sampling=start, num_predict=3, markers=(IM_END, "no token")).text == ""


def test_a_marker_that_ends_the_answer_is_shown_too(demo: Child) -> None:
    answer = demo.one(QUESTION, sampling=forced(TOKENS.index(IM_END)), markers=(IM_END,))
    assert (answer.text, answer.finished.reason, answer.finished.output_tokens) == (IM_END, "stop", 1)


def test_a_stop_string_may_be_a_marker(demo: Child) -> None:
    answer = demo.one(QUESTION, sampling=forced(TOKENS.index(IM_START)), markers=(IM_START,), stop=(IM_START,))
    assert (answer.text, answer.finished.stop_text) == ("", IM_START)


# ---------------------------------------------------------------- probabilities


def test_probabilities_are_those_of_the_raw_loop_whatever_the_sampling(demo: Child) -> None:
    hot = Sampling(temperature=1.5, seed=3, repeat_penalty=1.5, presence_penalty=1.0, top_k=1)
    for number, sampling in (
        (demo.ask(STORY, logprobs=5, num_predict=30), None),
        (demo.ask(STORY, logprobs=5, num_predict=1, sampling=hot), hot),
    ):
        demo.wait(number)
        got = told(demo, number)
        bare = raw(STORY, len(got), top=5)
        assert len(got) == (30 if sampling is None else 1)
        for mine, (token, logprob, best) in zip(got, bare, strict=True):
            assert mine.token.decode(errors="replace") == TOKENS[token].replace("Ġ", " ").replace("Ċ", "\n")
            assert mine.logprob == pytest.approx(logprob, abs=5e-3)
            assert [likely.logprob for likely in mine.top] == pytest.approx([value for _, value in best], abs=5e-3)
            assert mine.top[0].token == mine.token


def test_probabilities_of_the_chosen_token_alone(demo: Child) -> None:
    number = demo.ask(QUESTION, logprobs=0)
    (answer,) = demo.wait(number)
    got = told(demo, number)
    assert b"".join(logprob.token for logprob in got).decode() == answer.text
    assert all(logprob.top == [] and logprob.logprob <= 0 for logprob in got)


def test_the_text_of_the_tokens_told_ends_where_a_stop_string_does(demo: Child) -> None:
    number = demo.ask(QUESTION, logprobs=0, stop=("= 5",))
    (answer,) = demo.wait(number)
    assert answer.text == "2 + 3 "
    assert b"".join(logprob.token for logprob in told(demo, number)).startswith(b"2 + 3 ")
    assert len(told(demo, number)) == answer.tokens


def test_invisible_tokens_are_told_before_they_fill_a_frame(demo: Child) -> None:
    endless = {"sampling": forced(TOKENS.index(IM_START)), "num_predict": 400, "repeat_limit": 0, "shift": True}
    number = demo.ask(QUESTION, logprobs=20, **endless)
    (answer,) = demo.wait(number)
    assert (answer.text, answer.finished.output_tokens, answer.rows > 0) == ("", 400, True)
    assert {logprob.token for logprob in told(demo, number)} == {IM_START.encode()}


# ---------------------------------------------------------------- thinking


@pytest.mark.parametrize("budget", [0, 1, 4])
def test_thinking_that_reaches_its_budget_is_ended_in_the_models_place(demo: Child, budget: int) -> None:
    sampling = Sampling(temperature=0, logit_bias={TOKENS.index("</think>"): -1e9})
    thinking = Thinking("<think>", "</think>", inside=True, ending="\n</think>\n\n", budget=budget)
    text = demo.one(QUESTION + "<think>", thinking=thinking).text
    thought, tag, answer = text.partition("\n</think>\n\n")
    unbounded = demo.one(QUESTION + "<think>", sampling=sampling, num_predict=budget or 1).text
    assert thought == (unbounded if budget else "")
    assert tag
    assert "5" in answer


def test_thinking_that_ends_in_time_is_left_alone(demo: Child) -> None:
    thinking = Thinking("<think>", "</think>", inside=True, budget=1000)
    assert demo.one(QUESTION + "<think>", thinking=thinking).text == demo.one(QUESTION + "<think>").text


def test_an_answer_without_thinking_is_left_alone(demo: Child) -> None:
    thinking = Thinking("<think>", "</think>", budget=0)
    assert demo.one(QUESTION, thinking=thinking).text == demo.one(QUESTION).text


def test_forced_tokens_have_probabilities_too(demo: Child) -> None:
    thinking = Thinking("<think>", "</think>", inside=True, budget=0, ending="</think>")
    number = demo.ask(QUESTION + "<think>", thinking=thinking, logprobs=1)
    demo.wait(number)
    first, *_ = told(demo, number)
    assert (first.token, first.logprob < first.top[0].logprob) == (b"</think>", True)


# ---------------------------------------------------------------- what does not fit


def ids(answer: Answer) -> list[int]:
    return array("i", answer.finished.tokens).tolist()


def test_a_prompt_that_does_not_fit_loses_its_middle_and_the_cut_is_told_first(demo: Child) -> None:
    words = " ".join(f"time {number}" for number in range(100))

    number = demo.ask(words, truncate=True, num_keep=4, num_predict=1, want_tokens=True, context_source="the test")
    (answer,) = demo.wait(number)
    cut = next(frame for frame in demo.said if isinstance(frame, Cut) and frame.id == number)
    first = next(
        frame
        for frame in demo.said
        if getattr(frame, "id", 0) == number or (isinstance(frame, Delta) and frame.rows[0].id == number)
    )
    assert first is cut
    demo.send(Count(9000, words))
    needed = demo.until(Counted).tokens
    assert (cut.needed, cut.kept, cut.limit, cut.limit_source) == (needed, 66, CONTEXT, "the test")
    assert answer.finished.prompt_tokens == 66


def test_an_unlimited_answer_shifts_as_the_bare_loop_does(demo: Child) -> None:
    answer = demo.one(
        STORY, sampling=ENDLESS, shift=True, num_keep=4, num_predict=400, repeat_limit=0, want_tokens=True
    )
    done = answer.finished
    assert (done.reason, done.prompt_tokens, done.output_tokens) == ("length", 16, 400)
    bare = [token for token, _, _ in raw(STORY, 400, keep=4, endless=True)]
    assert ids(answer)[16:] == bare
    assert done.shifted == 61 * 5
    again = demo.one(STORY, sampling=ENDLESS, shift=True, num_keep=4, num_predict=400, repeat_limit=0)
    assert again.text == answer.text


def test_a_shift_leaves_the_other_sequences_alone(demo: Child) -> None:
    alone = demo.one(STORY, num_predict=100).text
    shifting = demo.ask(QUESTION, sampling=ENDLESS, shift=True, num_predict=300, repeat_limit=0)
    demo.until_text(shifting)
    beside = [demo.one(STORY, num_predict=100).text for _ in range(2)]
    assert not demo.answers[shifting].ends
    assert beside == [alone, alone]
    assert demo.wait(shifting)[0].finished.shifted > 0


def test_without_a_limit_a_shifting_answer_ends_after_ten_contexts(demo: Child) -> None:
    done = demo.one(QUESTION, sampling=ENDLESS, shift=True, context=40, repeat_limit=0).finished
    assert (done.reason, done.output_tokens) == ("length", 400)


def test_without_shift_the_answer_ends_where_the_context_does(demo: Child) -> None:
    done = demo.one(QUESTION, sampling=ENDLESS, context=40, repeat_limit=0).finished
    assert (done.reason, done.prompt_tokens + done.output_tokens, done.shifted) == ("length", 40, 0)


# ---------------------------------------------------------------- counting


def test_texts_are_counted_beside_running_answers(demo: Child) -> None:
    running = demo.ask(STORY, num_predict=100)
    demo.until_text(running)
    demo.send(Count(9001, QUESTION), Part(9002, QUESTION.encode()), Count(9002, parts=1), Count(9003, ""))
    counts = [demo.until(Counted) for _ in range(3)]
    assert [(count.id, count.tokens) for count in counts] == [(9001, 16), (9002, 16), (9003, 0)]
    assert demo.wait(running)[0].finished.output_tokens
