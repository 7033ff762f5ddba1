"""The page of items names everything on the contract's lists, once, and what it says is so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

import powerd.docs
from powerd.api.anthropic.schema import MessagesRequest
from powerd.api.app import TCP_ROUTES
from powerd.api.call import Route
from powerd.api.ollama import embed, schema
from powerd.api.openai import embeddings
from powerd.api.openai import schema as openai_schema
from powerd.api.openai.responses.schema import ResponsesRequest
from powerd.ctl.ollama_verbs import ROOT_FLAGS, find
from powerd.fleet.child import clean_environment
from powerd.ollama_variables import MEANINGLESS, OLLAMA_VARIABLES
from powerd.options import GONE as GONE_OPTIONS
from powerd.options import RUNNER_FIELDS, SAMPLING_OPTIONS, UNUSED_IN_REQUESTS
from tests.api.rig import Rig
from tests.contract import lists

PAGE = (Path(powerd.docs.__path__[0]) / "items.md").read_text()
COMPATIBILITY = (Path(powerd.docs.__path__[0]) / "compatibility.md").read_text()
STATES = {"works", "differs", "does not apply"}
#: By the route's name on the page.
SCHEMAS: dict[str, type[msgspec.Struct]] = {
    "generate": schema.GenerateRequest,
    "chat": schema.ChatRequest,
    "chat.messages[]": schema.ChatMessage,
    "embed": embed.EmbedRequest,
    "embeddings": embed.EmbeddingsRequest,
    "show": schema.ShowRequest,
    "pull": schema.ModelRequest,
    "push": schema.ModelRequest,
    "create": schema.CreateBody,
    "copy": schema.CopyRequest,
    "delete": schema.ModelRequest,
    "v1 chat": openai_schema.ChatRequest,
    "v1 completions": openai_schema.CompletionRequest,
    "v1 embeddings": embeddings.EmbeddingsRequest,
    "v1 responses": ResponsesRequest,
    "v1 messages": MessagesRequest,
}
#: Taken and thrown away, as Ollama does.
IGNORED = {
    "show": {"template"},
    "pull": {"username", "password"},
    "push": {"username", "password"},
    "create": {"modelfile", "path"},
    "v1 chat": {"user", "options", "keep_alive", "think"},
    "v1 responses": {"store"},
    "v1 messages": {"metadata", "cache_control", "service_tier"},
}
#: A sensible value of each option for which 1 is none; a number of tokens is small, so that answers are short.
VALUES: dict[str, object] = {
    **dict.fromkeys(("use_mmap", "use_mlock", "vocab_only", "logits_all", "numa", "low_vram", "f16_kv"), False),
    **dict.fromkeys(("top_p", "typical_p", "min_p"), 0.9),
    "penalize_newline": False,
    "stop": ["x"],
    "num_predict": 8,
    "num_ctx": 512,
    "repeat_penalty": 1.1,
}


def rows(title: str) -> Iterator[list[str]]:
    """The cells of every row of every table under a heading."""
    section = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and "`" in line and not cells[0].startswith("---"):
            yield cells


def items(title: str, *, of: bool) -> dict[tuple[str, str], tuple[str, str]]:
    """State and remark by (owner, item); the owner is the first cell's text where there is one (`of`)."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for cells in rows(title):
        if len(cells) != (4 if of else 3):
            continue
        owner, (named, state, remark) = cells[0] if of else "", cells[-3:]
        for item in re.findall(r"`([^`]+)`", named):
            assert (owner, item) not in found, f"{owner} {item} stands on the page twice"
            found[owner, item] = state, remark
    return found


def wanted(listed: dict[str, tuple[str, ...]]) -> set[tuple[str, str]]:
    return {(owner, item) for owner, names in listed.items() for item in names}


ROUTES = items("Routes", of=False)
REQUESTS = items("Fields of requests", of=True)
ANSWERS = items("Fields of answers", of=True)
OPTIONS = items("Options", of=False)
VARIABLES = items("Variables", of=False)
VERBS = items("Verbs and flags", of=False)
FLAGS = items("Verbs and flags", of=True)


@pytest.mark.parametrize(
    ("found", "listed"),
    [
        (ROUTES, {"": (*lists.ROUTES, *lists.GONE)}),
        (REQUESTS, lists.REQUEST_FIELDS),
        (ANSWERS, lists.ANSWER_FIELDS),
        (OPTIONS, {"": lists.OPTIONS}),
        (VARIABLES, {"": lists.VARIABLES}),
        (VERBS, {"": tuple(lists.VERBS)}),
        (FLAGS, lists.VERBS),
    ],
    ids=["routes", "requests", "answers", "options", "variables", "verbs", "flags"],
)
def test_every_item_of_the_contract_is_told_once_and_nothing_else(
    found: dict[tuple[str, str], tuple[str, str]], listed: dict[str, tuple[str, ...]]
) -> None:
    assert set(found) == wanted(listed)


@pytest.mark.parametrize("table", [ROUTES, REQUESTS, ANSWERS, OPTIONS, VARIABLES, VERBS])
def test_every_item_has_a_state_and_what_differs_has_a_reason(
    table: dict[tuple[str, str], tuple[str, str]],
) -> None:
    assert {state for state, _ in table.values()} <= STATES
    assert not [item for item, (state, remark) in table.items() if state == "differs" and not remark]


# ---------------------------------------------------------------- and it is so


def served(route: str) -> bool:
    method, _, path = route.partition(" ")
    path = re.sub(r"/:\w+$", "", path)
    return any(each.path == path and method in each.methods for each in TCP_ROUTES)


def test_every_route_is_served_but_those_that_ollama_has_dropped() -> None:
    for _, route in ROUTES:
        if " " not in route:
            assert not any(served(f"{method} {route}") for method in ("GET", "POST", "DELETE")), route
        else:
            assert served(route), route


@pytest.mark.parametrize("route", TCP_ROUTES, ids=lambda route: route.path)
def test_every_route_that_is_served_stands_on_the_page_of_compatibility(route: Route) -> None:
    assert re.search(rf"[` ]{re.escape(route.path)}[`/{{]", COMPATIBILITY), route.path


def test_fields_that_work_are_read() -> None:
    for (owner, field), (state, _) in REQUESTS.items():
        if state in {"works", "differs"} and owner in SCHEMAS and field not in IGNORED.get(owner, ()):
            assert field.partition(".")[0] in SCHEMAS[owner].__struct_encode_fields__, (owner, field)


def keys(value: object, path: str = "") -> Iterator[str]:
    """Every path in a JSON value, written as the lists write them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}.{key}".lstrip(".")
            yield from keys(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, f"{path}[]" if path else "")


THOUGHT = "?say=" + quote('<think>hm</think><tool_call>{"name": "f", "arguments": {}}</tool_call>', safe="")
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
}
NATIVE = {"name": "f", "input_schema": {"type": "object", "properties": {}}}  # as Anthropic writes it
ASKED: dict[str, list[tuple[str, Any]]] = {
    "generate": [
        ("/api/generate", {"prompt": THOUGHT, "tools": [TOOL], "logprobs": True, "stream": False}),
        ("/api/generate", {"prompt": "x", "_debug_render_only": True}),
    ],
    "chat": [
        ("/api/chat", {"messages": [{"role": "user", "content": THOUGHT}], "tools": [TOOL], "logprobs": True}),
        ("/api/chat", {"messages": [{"role": "user", "content": "x"}], "_debug_render_only": True}),
    ],
    "embed": [("/api/embed", {"input": "x"})],
    "embeddings": [("/api/embeddings", {"prompt": "x"})],
    "pull": [("/api/pull", {})],
    "v1 chat": [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], "tools": [TOOL], **more})
        for text, more in (
            *((THOUGHT, {}), (THOUGHT, {"stream": True}), ("x", {"logprobs": True})),
            ("x", {"_debug_render_only": True}),
        )
    ],
    "v1 completions": [("/v1/completions", {"prompt": "x", "logprobs": 1})],
    "v1 embeddings": [("/v1/embeddings", {"input": "x"})],
    "v1 responses": [
        ("/v1/responses", {"input": THOUGHT, "tools": [TOOL | TOOL["function"]]}),
        ("/v1/responses", {"input": "x"}),
    ],
    "v1 messages": [
        ("/v1/messages", {"max_tokens": 200, "messages": [{"role": "user", "content": text}], "tools": [NATIVE]})
        for text in (THOUGHT, "x")
    ],
    "tags": [("/api/tags", None)],
    "ps": [("/api/ps", None)],
    "version": [("/api/version", None)],
    "status": [("/api/status", None)],
    "v1 models": [("/v1/models", None)],
}
#: Answered by the real engine only, or by models that have it; other tests of this folder look at these.
ELSEWHERE = {"show", "generate.context"}


@pytest.mark.parametrize("owner", lists.ANSWER_FIELDS)
def test_fields_of_answers_that_work_are_told(rig: Rig, parrot: Any, owner: str) -> None:
    told: set[str] = set()
    rig.post("/api/generate", {"model": "parrot"})
    for path, body in ASKED.get(owner, ()):
        answer = rig.ask("GET", path) if body is None else rig.post(path, {"model": "parrot", **body})
        assert answer.status_code == 200, answer.text
        for line in answer.text.replace("data: ", "").replace("[DONE]", "").split("\n"):
            told |= set(keys(json.loads(line))) if line else set()
    told |= {path.removeprefix("models[].") for path in told}
    for (route, field), (state, _) in ANSWERS.items():
        if route == owner and state in {"works", "differs"} and not ELSEWHERE & {owner, f"{owner}.{field}"}:
            assert field in told, (owner, field)


def test_options_do_what_the_page_says() -> None:
    for (_, option), (state, remark) in OPTIONS.items():
        if state == "works":
            assert option in SAMPLING_OPTIONS, option
        elif state == "differs":
            assert option in {*SAMPLING_OPTIONS, *RUNNER_FIELDS}, option
            assert ("X-Powerd-Ignored" in remark) == (option in UNUSED_IN_REQUESTS), option
        else:
            assert option in {*UNUSED_IN_REQUESTS, *GONE_OPTIONS}, option


def test_every_option_is_taken_by_the_real_engine_and_what_has_no_effect_is_named(real: httpx.Client) -> None:
    values = {name: VALUES.get(name, 1) for name in lists.OPTIONS}
    for heat in (0.7, 0.0):
        options = {**values, "temperature": heat}
        answer = real.post("/api/generate", json={"model": "demo", "prompt": "x", "stream": False, "options": options})
        assert answer.status_code == 200, answer.text
        named = set(answer.headers["x-powerd-ignored"].split(", "))
        quiet = {option for (_, option), (state, remark) in OPTIONS.items() if "named" in remark}
        assert named == quiet | {option for (_, option), (_, remark) in OPTIONS.items() if "Ignored" in remark}


def test_variables_are_read_or_explained() -> None:
    for (_, variable), (state, _) in VARIABLES.items():
        assert (variable in MEANINGLESS) == (state == "does not apply"), variable
        if state in {"works", "differs"} and variable.startswith(("OLLAMA_", "MAX_", "MODEL_")):
            assert variable in {*OLLAMA_VARIABLES, "OLLAMA_NOHISTORY", "OLLAMA_EDITOR"}, variable
    assert set(OLLAMA_VARIABLES) | set(MEANINGLESS) <= set(lists.VARIABLES)


def test_the_drivers_variables_reach_the_runners() -> None:
    drivers = {name: "0" for (_, name), (_, remark) in VARIABLES.items() if "runners" in remark}
    assert len(drivers) == 6
    assert clean_environment(drivers) == drivers


def test_verbs_and_flags_that_work_are_there() -> None:
    for (_, verb), (state, _) in VERBS.items():
        names = verb.split(", ")
        if state == "works" and verb != "help":
            assert all(find(name) is not None for name in names), verb
    for (owner, flag), (state, _) in FLAGS.items():
        found = find(owner)
        known = ROOT_FLAGS if owner == "ollama" else found.every_flag if found else ()
        spelled = {f"--{each.name}" for each in known} | {f"-{each.short}" for each in known if each.short}
        if state in {"works", "differs"}:
            assert set(flag.split(", ")) <= spelled, (owner, flag)
