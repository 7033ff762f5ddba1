"""A real runner on real models: what comes back for a request."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from powerd.protocol import Finished, Part, Ready, Sampling
from tests.gguf_maker import demo_vocabulary, recurrent, tiny
from tests.runner.child import DEMO, GREEDY, Child, chat

pytestmark = pytest.mark.model

QUESTION = chat("What is 2 + 3?")
END, THINK, IM_START = 3, 7, 2
STORY = chat("Tell me a story about a fox.")


def biased(*tokens: int, seed: int = 1) -> Sampling:
    """Sampling that can only draw one of `tokens`."""
    return Sampling(seed=seed, logit_bias=dict.fromkeys(tokens, 1000.0))


@pytest.fixture(scope="module")
def demo() -> Iterator[Child]:
    child = Child()
    assert isinstance(child.load(DEMO), Ready)
    yield child
    child.close()


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """Random weights: answers that never end by themselves."""
    child = Child()
    weights = tiny(tmp_path_factory.mktemp("model") / "tiny.gguf")
    assert isinstance(child.load(weights, context=4096), Ready)
    yield child
    child.close()


def test_a_question_is_answered(demo: Child) -> None:
    answer = demo.one(QUESTION)
    assert "5" in answer.text
    done = answer.finished
    assert (done.reason, done.prompt_tokens, done.cached_tokens) == ("stop", 16, 0)
    assert done.output_tokens == answer.tokens + 1  # the end token has no text
    assert done.prompt_ns > 0
    assert done.output_ns > 0


def test_text_arrives_token_by_token(demo: Child) -> None:
    answer = demo.one(QUESTION)
    assert answer.rows == answer.tokens > 3


def test_parts_are_one_prompt(demo: Child) -> None:
    whole = demo.one(QUESTION).text
    data = QUESTION.encode()
    demo.send(Part(99, data[:7]), Part(99, data[7:30]), Part(99, data[30:]))
    demo.send(demo.request(99, parts=3))
    assert demo.wait(99)[0].text == whole


def test_a_missing_part_is_an_error(demo: Child) -> None:
    demo.send(Part(98, b"x"), demo.request(98, parts=2))
    assert demo.wait(98)[0].failed.code == "bad_request"


def test_a_prompt_that_is_not_utf8_is_an_error(demo: Child) -> None:
    demo.send(Part(97, b"\xff\xfe"), demo.request(97, parts=1))
    assert "UTF-8" in demo.wait(97)[0].failed.message


def test_sixteen_at_once_share_the_batch_and_wait_in_order(demo: Child) -> None:
    numbers = [demo.ask(QUESTION) for _ in range(16)]
    answers = demo.wait(*numbers)
    assert {answer.text for answer in answers} == {demo.one(QUESTION).text}
    assert all(answer.finished.reason == "stop" for answer in answers)
    assert max(stats.batch_rows_max for stats in demo.stats) == 4
    ended = [frame.id for frame in demo.said if isinstance(frame, Finished) and frame.id in numbers]
    assert ended == numbers


def test_greedy_text_is_the_same_alone_and_in_company(demo: Child) -> None:
    questions = [chat(f"What is {a} + {a + 1}?") for a in range(1, 9)]
    alone = [demo.one(question).text for question in questions]
    together = demo.wait(*(demo.ask(question) for question in questions))
    assert [answer.text for answer in together] == alone


def test_a_seed_repeats_an_answer_and_another_does_not(noise: Child) -> None:
    def text(seed: int) -> str:
        return noise.one("time", sampling=Sampling(seed=seed), num_predict=12).text

    assert text(5) == text(5)
    assert text(5) != text(6)
    assert text(-1) != text(-1)


@pytest.mark.parametrize("version", [1, 2])
def test_mirostat_draws_reproducibly(noise: Child, version: int) -> None:
    sampling = Sampling(mirostat=version, seed=3)
    first = noise.one("time", sampling=sampling, num_predict=20)
    assert first.finished.output_tokens == 20
    assert first.text == noise.one("time", sampling=sampling, num_predict=20).text


def test_a_penalty_knows_the_prompt(demo: Child) -> None:
    assert demo.one(QUESTION, num_predict=1).text == "2"
    punished = demo.one(QUESTION, sampling=Sampling(temperature=0, presence_penalty=100), num_predict=1)
    assert punished.text not in QUESTION


def test_logit_bias_forces_and_is_checked(demo: Child) -> None:
    assert demo.one(QUESTION, sampling=biased(END)).finished.output_tokens == 1
    assert "0 to 2047" in demo.one(QUESTION, sampling=biased(2048)).failed.message


def test_a_stop_string_is_hidden_and_named(demo: Child) -> None:
    answer = demo.one(QUESTION, stop=("= 5", "never"))
    assert answer.text == "2 + 3 "
    assert (answer.finished.reason, answer.finished.stop_text) == ("stop", "= 5")


def test_the_length_limit_is_exact(noise: Child) -> None:
    answer = noise.one("time", num_predict=7, repeat_limit=0)
    assert (answer.finished.reason, answer.finished.output_tokens) == ("length", 7)


def test_the_context_is_filled_to_the_last_place_and_no_further(noise: Child) -> None:
    done = noise.one("time", context=40, repeat_limit=0).finished
    assert (done.reason, done.prompt_tokens + done.output_tokens) == ("length", 40)


def test_a_prompt_too_long_is_refused_with_the_numbers(demo: Child) -> None:
    failed = demo.one(QUESTION, context=16, context_source="num_ctx").failed
    assert (failed.code, failed.needed, failed.limit, failed.limit_source) == ("context_overflow", 16, 16, "num_ctx")
    assert "num_ctx" in failed.message
    assert demo.one(QUESTION, context=17).finished.output_tokens == 1


def test_a_prompt_that_cannot_fit_is_refused_without_counting(demo: Child) -> None:
    demo.send(*(Part(96, b"a" * 128_000) for _ in range(100)), demo.request(96, parts=100))
    failed = demo.wait(96)[0].failed
    assert failed.code == "context_overflow"
    assert failed.needed >= 1024


def test_a_long_text_is_tokenised_aside_and_counted(demo: Child) -> None:
    demo.send(Part(95, b"a b c d e f " * 1400), demo.request(95, parts=1, context=1000))
    short = demo.one(QUESTION)
    assert short.finished.reason == "stop"
    long = Child.request(demo, 94, parts=1)
    demo.send(Part(94, b" time" * 16_000), long)
    assert demo.wait(95, 94)[1].failed.needed > 1024


def test_an_empty_prompt_begins_with_the_models_first_token(demo: Child) -> None:
    assert demo.one("", num_predict=1).finished.prompt_tokens == 1


def test_the_ids_of_an_answer_continue_the_conversation(demo: Child) -> None:
    first = demo.one(QUESTION, want_tokens=True)
    ids = array("i", first.finished.tokens)
    assert len(ids) == first.finished.prompt_tokens + first.finished.output_tokens - 1
    second = demo.one("<|im_end|>\n" + chat("And 1 + 1?"), prefix=first.finished.tokens)
    assert second.finished.prompt_tokens > len(ids)
    assert second.finished.reason == "stop"


@pytest.mark.parametrize("prefix", [b"abc", array("i", [2048]).tobytes(), array("i", [-1]).tobytes()])
def test_ids_that_are_none_are_refused(demo: Child, prefix: bytes) -> None:
    failed = demo.one(QUESTION, prefix=prefix).failed
    assert failed.code == "bad_request"
    assert "context" in failed.message


def test_the_same_token_over_and_over_is_cut(demo: Child) -> None:
    la = demo.one(QUESTION, sampling=biased(100))
    assert (la.finished.reason, la.finished.output_tokens) == ("repeat", 31)
    free = demo.one(QUESTION, sampling=biased(100), repeat_limit=0, num_predict=50)
    assert free.finished.reason == "length"


def test_user_defined_tokens_are_shown_and_control_tokens_are_not(demo: Child) -> None:
    assert demo.one(QUESTION, sampling=biased(THINK), num_predict=1).text == "<think>"
    hidden = demo.one(QUESTION, sampling=biased(IM_START), num_predict=3)
    assert (hidden.text, hidden.finished.output_tokens) == ("", 3)


def test_bytes_that_make_no_character_come_out_as_replacements(demo: Child) -> None:
    lone = demo_vocabulary().tokens.index("ÿ")  # the byte 0xFF
    answer = demo.one(QUESTION, sampling=biased(lone), num_predict=3)
    assert answer.text == "\ufffd" * 3


def test_a_recurrent_model_forgets_a_finished_sequence(spawn: Callable[[], Child], tmp_path: Path) -> None:
    child = spawn()
    assert isinstance(child.load(recurrent(tmp_path / "mamba.gguf"), parallel=2), Ready)
    first = child.one("time people", num_predict=12, repeat_limit=0).text
    answers = child.wait(*(child.ask(f"water {i}", num_predict=12, repeat_limit=0) for i in range(5)))
    assert len({answer.text for answer in answers}) > 1
    assert child.one("time people", num_predict=12, repeat_limit=0).text == first
    done = child.one("time people", shift=True, context=20, repeat_limit=0).finished  # it has nothing to drop
    assert (done.reason, done.prompt_tokens + done.output_tokens, done.shifted) == ("length", 20, 0)
    assert child.shutdown()[0] == 0


def test_quantised_cells_are_read_back_and_work(spawn: Callable[[], Child]) -> None:
    child = spawn()
    ready = child.load(DEMO, kv_cache="q8_0")
    assert isinstance(ready, Ready)
    assert (ready.have.kv_cache, ready.have.flash_attention) == ("q8_0", True)
    assert "5" in child.one(QUESTION, sampling=GREEDY).text
    done = child.one(QUESTION, shift=True, context=24, sampling=biased(100), repeat_limit=0).finished
    assert (done.reason, done.shifted) == ("length", 0)  # llama.cpp would crash: its heads are too small
    assert child.shutdown()[0] == 0
