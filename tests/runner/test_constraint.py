"""Constraints on the bundled model, at temperatures that make it write nonsense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest

from powerd.output.families import BY_NAME
from powerd.output.formats import Format, Tags, Tools
from powerd.output.grammars import grammar, schema
from powerd.output.pieces import Content, Piece
from powerd.output.reader import reader
from powerd.protocol import Constraint, Ready, Sampling, Thinking, ToolCall
from tests.runner.child import DEMO, GREEDY, Answer, Child, chat

pytestmark = pytest.mark.model

FORMAT = Format(Tags("<think>", "</think>"), BY_NAME["hermes"])
THINKING = Thinking("<think>", "</think>")
WILD = Sampling(temperature=1.6, top_k=0, top_p=1)
QUESTION = chat("Give me a JSON object with the keys name and age for Anna, 31.")
TOOLS: Tools = {
    "get_weather": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city"],
    }
}
TOOL_PROMPT = (
    "<|im_start|>system\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are "
    "provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
    + "\n".join(
        json.dumps({"type": "function", "function": {"name": name, "description": "", "parameters": parameters}})
        for name, parameters in TOOLS.items()
    )
    + "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n'
    "</tool_call><|im_end|>\n<|im_start|>user\nWhat is the weather in Rome?<|im_end|>\n<|im_start|>assistant\n"
)
SCHEMAS: dict[str, dict[str, Any] | None] = {
    "any": None,
    "flat": {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    },
    "nested": {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"enum": ["x", "y", 3, None]}, "minItems": 1, "maxItems": 3},
            "n": {"type": "number"},
        },
        "required": ["a", "n"],
    },
    "tree": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"v": {"type": "integer"}, "kid": {"$ref": "#/$defs/node"}},
                "required": ["v"],
            }
        },
        "$ref": "#/$defs/node",
    },
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
}


@pytest.fixture(scope="module")
def demo() -> Iterator[Child]:
    child = Child()
    assert isinstance(child.load(DEMO, parallel=8), Ready)
    yield child
    child.close()


def answers(demo: Child, prompt: str, seeds: int, **fields: object) -> list[Answer]:
    """The same question to many seeds at once."""
    sampling = fields.pop("sampling", WILD)
    assert isinstance(sampling, Sampling)
    fields = {"num_predict": 100, "repeat_limit": 0, **fields}
    asked = [demo.ask(prompt, sampling=_seeded(sampling, seed), **fields) for seed in range(seeds)]
    return demo.wait(*asked)


def _seeded(sampling: Sampling, seed: int) -> Sampling:
    return msgspec.structs.replace(sampling, seed=seed)


def valid(answer: Answer, wanted: dict[str, Any] | None) -> bool:
    """Whether an answer that was not cut is JSON of the schema."""
    if answer.finished.reason == "length":
        return False
    text = answer.text.partition("</think>")[2] if "</think>" in answer.text else answer.text
    jsonschema.validate(json.loads(text), {} if wanted is None else wanted)
    return True


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_answer_that_ends_is_valid_json_of_its_schema(demo: Child, name: str) -> None:
    wanted = SCHEMAS[name]
    constraint = grammar.answer(None if wanted is None else schema.checked(wanted), FORMAT)
    made = answers(demo, QUESTION, 8, constraint=constraint)
    assert sum(valid(answer, wanted) for answer in made) >= 4


def test_a_model_may_think_first_or_answer_at_once(demo: Child) -> None:
    constraint = grammar.answer(schema.checked(SCHEMAS["pattern"]), FORMAT)
    made = answers(demo, QUESTION, 4, constraint=constraint, thinking=THINKING, sampling=Sampling(temperature=0.7))
    assert all(valid(answer, SCHEMAS["pattern"]) for answer in made)
    biased = Sampling(temperature=0, logit_bias={token(demo, "<think>"): 100.0})
    thought = demo.one(QUESTION, constraint=constraint, thinking=THINKING, sampling=biased, num_predict=3)
    assert thought.text.startswith("<think>")


def token(demo: Child, text: str) -> int:
    """The one token of a text, as the answer to a prompt of it tells."""
    told = demo.one(text, num_predict=1, want_tokens=True, add_bos=False).finished.tokens
    return int.from_bytes(told[:4], "little")


def test_thinking_that_the_prompt_began_must_end_in_an_answer(demo: Child) -> None:
    wanted = SCHEMAS["flat"]
    constraint = grammar.answer(schema.checked(wanted), FORMAT)
    inside = Thinking("<think>", "</think>", inside=True)
    made = answers(demo, QUESTION + "<think>\n", 6, constraint=constraint, thinking=inside)
    for answer in made:
        if answer.finished.reason != "length":
            assert "</think>" in answer.text
            valid(answer, wanted)
    calm = demo.one(QUESTION + "<think>\n", constraint=constraint, thinking=inside, num_predict=300)
    assert valid(calm, wanted)


def test_a_spent_budget_leads_into_the_answer(demo: Child) -> None:
    wanted = SCHEMAS["flat"]
    constraint = grammar.answer(schema.checked(wanted), FORMAT)
    budget = Thinking("<think>", "</think>", inside=True, budget=3, ending="\n</think>\n\n")
    made = answers(demo, QUESTION + "<think>\n", 6, constraint=constraint, thinking=budget)
    assert any(valid(answer, wanted) for answer in made)
    assert all("</think>" in answer.text for answer in made)


def pieces(answer: Answer) -> list[Piece]:
    made = reader(FORMAT, TOOLS, inside=False)
    return [*made.feed(answer.text), *made.end()]


def calls(answer: Answer) -> list[ToolCall]:
    return [piece for piece in pieces(answer) if isinstance(piece, ToolCall)]


def test_calls_that_a_model_begins_by_itself_have_arguments_of_their_schema(demo: Child) -> None:
    made = answers(demo, TOOL_PROMPT, 16, constraint=grammar.calls(FORMAT, TOOLS))
    made += answers(demo, TOOL_PROMPT, 8, constraint=grammar.calls(FORMAT, TOOLS), sampling=Sampling(temperature=0.7))
    begun = [answer for answer in made if "<tool_call>" in answer.text and answer.finished.reason == "stop"]
    assert len(begun) >= 8
    for answer in begun:
        assert not [piece for piece in pieces(answer) if isinstance(piece, Content) and "<tool_call>" in piece.text]
        for call in calls(answer):
            jsonschema.validate(call.arguments, TOOLS[call.name])


@pytest.mark.parametrize("choice", ["required", "get_weather"])
def test_calls_that_must_be_are_the_whole_answer(demo: Child, choice: str) -> None:
    for answer in answers(demo, chat("Hello!"), 6, constraint=grammar.calls(FORMAT, TOOLS, choice, parallel=False)):
        if answer.finished.reason == "stop":
            assert len(calls(answer)) == 1
            assert answer.text.lstrip().startswith("<tool_call>")
            assert answer.text.endswith("</tool_call>")


def test_a_schema_beside_tools_allows_both(demo: Child) -> None:
    constraint = grammar.both(schema.checked(SCHEMAS["flat"]), FORMAT, TOOLS)
    called = demo.one(TOOL_PROMPT, constraint=constraint, num_predict=200)
    assert calls(called)
    answered = demo.one(QUESTION, constraint=constraint, num_predict=200)
    assert valid(answered, SCHEMAS["flat"]) or calls(answered)


def test_one_call_ends_the_answer_when_there_may_be_only_one(demo: Child) -> None:
    constraint = grammar.calls(FORMAT, TOOLS, parallel=False)
    assert constraint is not None
    (answer,) = answers(demo, TOOL_PROMPT, 1, constraint=constraint, sampling=GREEDY)
    assert answer.text.endswith("</tool_call>")
    assert len(calls(answer)) == 1


def test_a_text_that_is_a_control_token_is_written_as_that_token(demo: Child) -> None:
    constraint = Constraint('start: marker_0 "ok"\nmarker_0: "<|im_start|>"\n')
    answer = demo.one(QUESTION, constraint=constraint, markers=("<|im_start|>",), num_predict=20)
    assert answer.text == "<|im_start|>ok"
    assert answer.finished.output_tokens <= 4


def test_probabilities_are_those_before_the_mask(demo: Child) -> None:
    constraint = Constraint('start: "zzz"\n')
    ids = [demo.ask(QUESTION, logprobs=2, num_predict=1, constraint=held) for held in (None, constraint)]
    rows = {row.id: row for frame in _frames_until(demo, ids) for row in frame.rows}
    free, bound = (rows[number].logprobs[0] for number in ids)
    assert bound.token.startswith(b"z")
    assert bound.top == free.top


def _frames_until(demo: Child, ids: list[int]) -> list[Any]:
    begun = len(demo.said)
    demo.wait(*ids)
    return [frame for frame in demo.said[begun:] if hasattr(frame, "rows")]


@pytest.mark.parametrize("grammar_text", ["start: nowhere\n", 'start: %json {"type": "x"}\n', "not a grammar", ""])
def test_a_constraint_that_does_not_compile_is_refused_and_the_runner_goes_on(demo: Child, grammar_text: str) -> None:
    failed = demo.one(QUESTION, constraint=Constraint(grammar_text)).failed
    assert failed.code == "bad_request"
    assert "constraint" in failed.message
    assert demo.one(QUESTION, num_predict=2).finished


def test_every_kind_of_sampling_keeps_to_the_grammar(demo: Child) -> None:
    constraint = grammar.answer(schema.checked(SCHEMAS["pattern"]), FORMAT)
    kinds: list[dict[str, Any]] = [
        {"typical_p": 0.5},
        {"mirostat": 1},
        {"mirostat": 2},
        {"min_p": 0.2},
        {"repeat_penalty": 1.5},
    ]
    for kind in kinds:
        sampling = msgspec.structs.replace(Sampling(seed=1), **kind)
        answer = demo.one(QUESTION, constraint=constraint, sampling=sampling, num_predict=60)
        assert valid(answer, SCHEMAS["pattern"]), kind
