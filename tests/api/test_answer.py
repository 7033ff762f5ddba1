"""An answer as a dialect reads it: told apart, joined, numbered, accounted for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from powerd.api.answer import Answer, Output, call_id
from powerd.errors import BadRequest, RunnerDied
from powerd.fleet.process import Item, Stream
from powerd.names import Name
from powerd.output.formats import Format, Tags
from powerd.output.pieces import Content, Reader, Thought
from powerd.output.reader import reader
from powerd.output.recognise import recognise
from powerd.protocol import Cut, Failed, Finished, Generate, Logprob, Row, ToolCall

THINKS = Format(thinking=Tags("<think>", "</think>"))
CALLS = recognise("{% if tools %}<tool_call></tool_call>{% endif %}<think></think>", "jinja")
DONE = Finished(1, "stop", 3, 0, 4)
FUNCTIONS: dict[str, dict[str, Any]] = {"f": {}, "g": {}}
TWO = "\n".join(
    f"<tool_call>\n{call}\n</tool_call>"
    for call in ('{"name": "f", "arguments": {"a": 1}}', '{"name": "g", "arguments": {}}')
)


def answer(items: Sequence[Item], reads: Reader | None = None, **more: Any) -> Answer:
    stream = Stream(Generate(1), cast(Any, None))
    for item in items:
        stream.put(item)
    stream.end()
    offer = cast(Any, SimpleNamespace(name=Name.parse("m")))
    return Answer(offer, 0, {}, stream, 0, reads, **more)


def rows(*texts: str) -> list[Item]:
    return [*(Row(1, text, 1) for text in texts), DONE]


def whole(of: Answer) -> tuple[Output, Finished]:
    return asyncio.run(of.whole())


def test_without_a_reader_all_is_content() -> None:
    output, finished = whole(answer(rows("<think>", "x")))
    assert (output.pieces, output.content, finished) == ([Content("<think>x")], "<think>x", DONE)


def test_thoughts_and_content_are_joined_each_to_its_own() -> None:
    reads = reader(THINKS, None, inside=False)
    output, _ = whole(answer(rows("<think>\nh", "m</th", "ink>\n\nH", "i"), reads))
    assert output.pieces == [Thought("hm"), Content("Hi")]
    assert (output.thinking, output.content) == ("hm", "Hi")


def test_what_the_reader_held_back_comes_with_the_end() -> None:
    reads = reader(THINKS, None, inside=False)
    output, _ = whole(answer(rows("<thi"), reads))
    assert output.content == "<thi"


def test_calls_get_ids_of_their_own() -> None:
    output, _ = whole(answer(rows(TWO), reader(CALLS, FUNCTIONS, inside=False)))
    first, second = output.calls
    assert (first.name, first.arguments, second.name) == ("f", {"a": 1}, "g")
    assert first.id != second.id
    assert all(re.fullmatch(r"call_[a-z0-9]{8}", call.id) for call in (first, second))
    assert not output.content.strip()


def test_who_wants_one_call_gets_the_first() -> None:
    reads = reader(CALLS, FUNCTIONS, inside=False)
    output, _ = whole(answer(rows(TWO), reads, parallel_calls=False))
    assert [call.name for call in output.calls] == ["f"]


def test_an_id_the_model_gave_stays() -> None:
    class Fixed:
        def feed(self, text: str) -> list[ToolCall]:
            return [ToolCall("f", {}, text)]

        def end(self) -> list[ToolCall]:
            return []

    output, _ = whole(answer(rows("functions.f:0"), Fixed()))
    assert output.calls == [ToolCall("f", {}, "functions.f:0")]
    assert call_id() != call_id()


def test_the_probabilities_of_thoughts_are_told_apart() -> None:
    reads = reader(THINKS, None, inside=True)
    texts = ("hm", "</think>", "Hi")
    items = [Row(1, text, 1, [Logprob(text.encode(), -1.0)]) for text in texts]
    output, _ = whole(answer([*items, DONE], reads))
    assert [token.token for token in output.logprobs] == [b"hm", b"</think>", b"Hi"]
    assert [token.token for token in output.spoken] == [b"Hi"]


def test_the_probabilities_of_text_that_was_held_back_come_with_it() -> None:
    reads = reader(THINKS, None, inside=False)
    texts = ("<", "thin", " ice", "<think")
    output, _ = whole(answer([*(Row(1, text, 1, [Logprob(text.encode(), -1.0)]) for text in texts), DONE], reads))
    assert output.content == "".join(texts)
    assert [token.token.decode() for token in output.spoken] == list(texts)


def test_a_cut_is_heard_of_and_a_failure_is_raised() -> None:
    heard: list[Cut] = []
    cut = Cut(1, 9, 4, 5, "here")
    whole(answer([cut, *rows("x")], on_cut=heard.append))
    assert heard == [cut]
    with pytest.raises(BadRequest, match="why"):
        whole(answer([Failed(1, "bad_request", "why")]))
    with pytest.raises(RunnerDied, match="without its last frame"):
        whole(answer([Row(1, "x", 1)]))


def test_what_was_read_before_comes_first() -> None:
    of = answer(rows("b"), first=[Row(1, "a", 1)])
    assert whole(of)[0].content == "ab"


def test_dropped_tokens_are_a_note() -> None:
    of = answer([Finished(1, "stop", 3, 0, 4, shifted=7)])
    whole(of)
    assert of.notes["X-Powerd-Shifted"].startswith("7 tokens")
