"""What a client would notice first (contract section 15): one test for each of its 40 rows, by the row's number."""

from __future__ import annotations

import hashlib
import http.server
import json
import math
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from powerd.fleet.state import QUEUE_FULL
from tests.api.rig import EMBED, Rig

HI = [{"role": "user", "content": "hi"}]
FULL = "registry.ollama.ai/library"
TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
NATIVE = {"name": "add", "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"?say={quote(text, safe='')}"}]


class Empty(http.server.BaseHTTPRequestHandler):
    """A registry without a single model."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def empty_registry() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def told(rig: Rig, path: str, body: Any, status: int = 400) -> Any:
    answer = rig.post(path, body)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def tags(rig: Rig) -> dict[str, Any]:
    return {row["name"]: row for row in rig.get("/api/tags").json()["models"]}


def test_every_row_is_tested() -> None:
    rows = [int(name[5:7]) for name in dir(sys.modules[__name__]) if re.match(r"test_\d\d_", name)]
    assert sorted(rows) == list(range(1, 41))


# ---------------------------------------------------------------- 1 to 10


def test_01_the_root_answers_its_probe(rig: Rig) -> None:
    assert (rig.get("/").status_code, rig.get("/").text) == (200, "Ollama is running")
    assert rig.ask("HEAD", "/").status_code == 200


def test_02_a_stream_is_ndjson_and_its_last_object_is_done(rig: Rig) -> None:
    lines = rig.lines("/api/chat", {"model": "demo", "messages": HI})
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]


def test_03_native_routes_stream_by_default_and_openais_do_not(rig: Rig) -> None:
    asked = {"model": "demo", "messages": HI}
    assert rig.post("/api/chat", asked).headers["content-type"] == "application/x-ndjson"
    assert rig.post("/v1/chat/completions", asked).headers["content-type"] == "application/json"


def test_04_a_model_that_is_not_here_is_404_with_the_name_as_sent(rig: Rig) -> None:
    for path, body in (("chat", {"messages": HI}), ("generate", {"prompt": "x"})):
        assert told(rig, f"/api/{path}", {"model": "No/Pe:X", **body}, 404) == "model 'No/Pe:X' not found"


def test_05_an_entry_of_tags_has_what_clients_read(rig: Rig) -> None:
    entry = tags(rig)["demo:latest"]
    assert entry["name"] == entry["model"] == "demo:latest"
    assert re.fullmatch(r"[0-9a-f]{64}", entry["digest"])
    assert entry["details"].keys() >= {"parent_model", "format", "family", "families", "parameter_size"}


def test_06_names_are_latest_by_default_match_in_any_case_and_are_echoed(rig: Rig) -> None:
    for name in ("demo", "DEMO:Latest", "registry.ollama.ai/library/demo"):
        asked = {"model": name, "prompt": "x", "stream": False, "options": {"num_predict": 1}}
        assert rig.post("/api/generate", asked).json()["model"] == name


def test_07_show_has_model_info_and_capabilities(rig: Rig) -> None:
    shown = rig.post("/api/show", {"model": "demo"}).json()
    assert shown["model_info"]["general.architecture"] == "llama"
    assert shown["model_info"]["llama.context_length"] == 1024
    assert shown["capabilities"] == ["completion", "tools", "thinking"]


def test_08_figures_are_nanoseconds_in_the_last_object_only(rig: Rig) -> None:
    *chunks, last = rig.lines("/api/generate", {"model": "demo", "prompt": "x"})
    assert last["total_duration"] > 10_000
    assert last["eval_count"] == 10
    assert not any("duration" in key or "count" in key for chunk in chunks for key in chunk)


def test_09_done_reasons_are_the_four(rig: Rig, parrot: Any) -> None:
    asked = {"model": "parrot", "stream": False}
    reasons = [
        rig.post("/api/chat", {**asked, **more}).json()["done_reason"]
        for more in (
            {"messages": say("Hello")},
            {"messages": HI, "options": {"num_predict": 2}},
            {},
            {"keep_alive": 0},
        )
    ]
    assert reasons == ["stop", "length", "load", "unload"]


def test_10_an_empty_prompt_loads_and_a_keep_alive_of_0_unloads_with_one_object(rig: Rig) -> None:
    for path in ("/api/generate", "/api/chat"):
        for more, reason in (({}, "load"), ({"keep_alive": 0}, "unload")):
            answer = rig.post(path, {"model": "demo", **more})
            assert answer.headers["content-type"] == "application/json; charset=utf-8"
            assert answer.json()["done_reason"] == reason


# ---------------------------------------------------------------- 11 to 20


def test_11_thinking_is_a_field_of_its_own_on_by_default_and_refused_where_there_is_none(rig: Rig, parrot: Any) -> None:
    asked = {"model": "parrot", "messages": say("<think>hm</think>Yes"), "stream": False}
    message = rig.post("/api/chat", asked).json()["message"]
    assert (message["thinking"], message["content"]) == ("hm", "Yes")
    text = told(rig, "/api/chat", {"model": "plain", "messages": HI, "think": True})
    assert text == '"plain" does not support thinking'


def test_12_arguments_are_an_object_natively_and_text_under_v1_and_come_whole(rig: Rig, parrot: Any) -> None:
    asked = {"model": "parrot", "messages": say(CALL), "tools": [TOOL]}
    native = [call for line in rig.lines("/api/chat", asked) for call in line["message"].get("tool_calls", ())]
    assert [call["function"] for call in native] == [{"index": 0, "name": "add", "arguments": {"a": 1}}]
    assert re.fullmatch(r"call_[0-9a-z]{8}", native[0]["id"])
    choice = rig.post("/v1/chat/completions", asked).json()["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1}'}
    assert choice["finish_reason"] == "tool_calls"


def test_13_tools_for_a_model_without_them_are_refused_in_the_text_clients_match(rig: Rig) -> None:
    text = told(rig, "/api/chat", {"model": "plain", "messages": HI, "tools": [TOOL]})
    assert text == f"{FULL}/plain:latest does not support tools"


def test_14_openais_stream_names_the_role_once_and_ends_with_done(rig: Rig) -> None:
    *chunks, last, done = rig.events("/v1/chat/completions", {"model": "demo", "messages": HI, "stream": True})
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if isinstance(chunk, dict)]
    assert ["role" in delta for delta in deltas] == [True] + [False] * (len(deltas) - 1)
    assert isinstance(last, dict)
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"], done) == ({}, "length", "[DONE]")
    assert not any("usage" in chunk for chunk in (*chunks, last))
    asked = {"model": "demo", "messages": HI, "stream": True, "stream_options": {"include_usage": True}}
    usage = rig.events("/v1/chat/completions", asked)[-2]
    assert isinstance(usage, dict)
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] > 0


def test_15_openais_thoughts_are_called_reasoning(rig: Rig, parrot: Any) -> None:
    asked = {"model": "parrot", "messages": say("<think>hm</think>Yes")}
    message = rig.post("/v1/chat/completions", asked).json()["choices"][0]["message"]
    assert (message["reasoning"], message["content"], "reasoning_content" in message) == ("hm", "Yes", False)


def test_16_openais_errors_have_its_shape_and_models_need_no_key(rig: Rig) -> None:
    assert told(rig, "/v1/chat/completions", {"model": "nope", "messages": HI}, 404).keys() == {
        *("message", "type", "param", "code")
    }
    assert "demo:latest" in {model["id"] for model in rig.get("/v1/models").json()["data"]}


def test_17_an_error_in_mid_stream_is_the_last_line_under_status_200(rig: Rig, parrot: Any) -> None:
    asked = {"model": "parrot", "messages": [{"role": "user", "content": "?crash-after=3"}]}
    *chunks, last = rig.lines("/api/chat", asked)
    assert chunks
    assert not any(chunk["done"] for chunk in chunks)
    assert last.keys() == {"error"}


def test_18_a_pull_tells_its_steps_in_order(rig: Rig, parrot: Any) -> None:
    lines = rig.lines("/api/pull", {"model": "parrot"})
    assert lines[0]["status"] == "pulling manifest"
    assert [line["status"] for line in lines[-3:]] == ["verifying sha256 digest", "writing manifest", "success"]
    for layer in lines[1:-3]:
        assert layer["status"] == f"pulling {layer['digest'][7:19]}"
        assert layer["total"] == layer["completed"]


def test_19_a_pull_of_what_is_not_there_has_the_text_the_cli_matches(rig: Rig, empty_registry: str) -> None:
    wanted = {"model": f"{empty_registry}/library/nope", "insecure": True}
    assert rig.lines("/api/pull", wanted)[-1] == {"error": "pull model manifest: file does not exist"}


def test_20_format_takes_json_and_schemas_also_where_the_model_thinks(rig: Rig, parrot: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    for wanted in ("json", schema):
        asked = {"model": "parrot", "messages": say('<think>hm</think>{"a":1}'), "format": wanted, "stream": False}
        message = rig.post("/api/chat", asked).json()["message"]
        assert (message["thinking"], message["content"]) == ("hm", '{"a":1}')


# ---------------------------------------------------------------- 21 to 30


def test_21_keep_alive_is_seconds_or_a_duration_and_a_bare_number_in_quotes_is_neither(rig: Rig) -> None:
    for value in (60, 1.5, "5m", -1, "-1m", "0"):
        assert rig.post("/api/generate", {"model": "demo", "keep_alive": value}).status_code == 200, value
    assert told(rig, "/api/generate", {"model": "demo", "keep_alive": "-1"}) == 'time: missing unit in duration "-1"'
    assert rig.post("/api/generate", {"model": "demo", "keep_alive": 0}).status_code == 200


def test_22_embed_takes_many_and_normalises_and_embeddings_one_and_does_not(real: httpx.Client) -> None:
    for model in ("embed", "demo"):
        many = real.post("/api/embed", json={"model": model, "input": ["a", "b c"]}).json()
        assert [math.hypot(*vector) for vector in many["embeddings"]] == pytest.approx([1.0, 1.0], abs=1e-5)
        assert many["prompt_eval_count"] > 0
        one = real.post("/api/embeddings", json={"model": model, "prompt": "a"}).json()
        assert one.keys() == {"embedding"}
        length = math.hypot(*one["embedding"])
        assert [each / length for each in one["embedding"]] == pytest.approx(many["embeddings"][0], abs=1e-4)
        assert abs(length - 1) > 1e-3


def test_23_unknown_options_are_ignored_and_the_request_wins_over_the_model(rig: Rig) -> None:
    asked = {"model": "ns/tuned:v1", "prompt": "x", "stream": False, "options": {"unheard_of": {}}}
    assert rig.post("/api/generate", asked).json()["eval_count"] == 3
    asked["options"] = {"num_predict": 5}
    assert rig.post("/api/generate", asked).json()["eval_count"] == 5
    text = told(rig, "/api/generate", {"model": "demo", "prompt": "x", "options": {"top_k": "5"}})
    assert text == 'option "top_k" must be of type integer'


def test_24_the_context_is_4096_or_what_the_model_was_trained_for(rig: Rig) -> None:
    assert rig.library.find("demo").deployment.context == 1024
    rig.post("/api/generate", {"model": "demo"})
    assert 1024 in {row["context_length"] for row in rig.get("/api/ps").json()["models"]}


def test_25_ps_tells_until_when_how_large_and_how_long(rig: Rig) -> None:
    rig.post("/api/generate", {"model": "demo"})
    row = rig.get("/api/ps").json()["models"][0]
    assert row.keys() >= {"expires_at", "size", "size_vram", "context_length", "digest", "details"}


def test_26_the_version_is_a_high_enough_semver(rig: Rig) -> None:
    major, minor, patch = map(int, rig.get("/api/version").json()["version"].split("."))
    assert (major, minor, patch) >= (0, 33, 0)


def test_27_ollamas_origins_are_allowed_and_foreign_ones_are_403(rig: Rig) -> None:
    local = rig.get("/api/tags", origin="http://localhost:3000")
    assert local.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert rig.get("/api/tags", origin="https://evil.example").status_code == 403
    assert rig.get("/api/tags", origin="https://evil.example", app=rig.app(origins=("*",))).status_code == 200


def test_28_the_host_is_checked(rig: Rig) -> None:
    assert rig.get("/api/tags", host="evil.example").status_code == 403
    assert rig.get("/api/tags", host="localhost:11434").status_code == 200


# ---------------------------------------------------------------- 31 to 40


def test_32_images_are_bare_base64_and_refused_where_the_model_has_no_eyes(rig: Rig) -> None:
    asked = {"model": "demo", "messages": [{**HI[0], "images": ["aGk="]}]}
    assert told(rig, "/api/chat", asked) == f"{FULL}/demo:latest does not support vision"
    asked["messages"] = [{**HI[0], "images": ["data:image/png;base64,aGk="]}]
    assert told(rig, "/api/chat", asked) == "illegal base64 data at input byte 4"


def test_33_declared_sampling_holds_and_max_completion_tokens_counts(rig: Rig) -> None:
    asked = {"model": "demo", "messages": HI, "max_completion_tokens": 4}
    assert rig.post("/v1/chat/completions", asked).json()["usage"]["completion_tokens"] == 4


def test_34_a_full_queue_answers_503_in_the_text_clients_match() -> None:
    assert QUEUE_FULL == "server busy, please try again.  maximum pending requests exceeded"


def test_35_a_blob_is_uploaded_once_and_made_a_model(rig: Rig) -> None:
    data = EMBED.read_bytes()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    statuses = [rig.post(f"/api/blobs/{digest}", data).status_code for _ in range(2)]
    assert statuses[1] == 200
    assert statuses[0] in {200, 201}
    lines = rig.lines("/api/create", {"model": "made", "files": {"m.gguf": digest}})
    assert lines[-1] == {"status": "success"}
    assert rig.ask("DELETE", "/api/delete", {"model": "made"}).status_code == 200


def test_36_arrays_of_model_info_are_null_unless_verbose(rig: Rig) -> None:
    for verbose in (False, True):
        info = rig.post("/api/show", {"model": "demo", "verbose": verbose}).json()["model_info"]
        assert (info["tokenizer.ggml.tokens"] is None) is not verbose


def test_37_the_last_object_of_generate_has_the_context_unless_raw(real: httpx.Client) -> None:
    asked = {"model": "demo", "prompt": "Say hello", "stream": False, "options": {"num_predict": 8}}
    first = real.post("/api/generate", json=asked).json()
    assert len(first["context"]) == first["prompt_eval_count"] + first["eval_count"]
    second = real.post("/api/generate", json={**asked, "context": first["context"]}).json()
    assert second["prompt_eval_count"] > first["prompt_eval_count"]
    assert "context" not in real.post("/api/generate", json={**asked, "raw": True}).json()


def test_38_a_keep_alive_sticks_and_equal_weights_share_a_runner(rig: Rig) -> None:
    rig.post("/api/generate", {"model": "demo", "keep_alive": "1h"})
    before = rig.get("/api/ps").json()["models"]
    rig.post("/api/generate", {"model": "ns/tuned:v1"})
    after = rig.get("/api/ps").json()["models"]
    assert [row["name"] for row in after] == [row["name"] for row in before]
    assert after[0]["expires_at"] >= before[0]["expires_at"]


def test_39_sizes_are_written_as_pickers_show_them(rig: Rig) -> None:
    details = tags(rig)["demo:latest"]["details"]
    assert (details["quantization_level"], details["parameter_size"]) == ("Q8_0", "2.89M")


def test_40_copy_and_delete_answer_with_nothing(rig: Rig) -> None:
    answers = [
        rig.post("/api/copy", {"source": "demo", "destination": "twin"}),
        rig.ask("DELETE", "/api/delete", {"model": "twin"}),
    ]
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"")] * 2


def test_31_responses_number_their_events_and_thoughts_come_back_as_they_were_told(rig: Rig) -> None:
    body = {"model": "demo", "input": say("<think>\nhm\n</think>\n\nHi")}
    lines = rig.post("/v1/responses", {**body, "stream": True}).text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [event["type"] for event in events] == [line.removeprefix("event: ") for line in lines if line[:1] == "e"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    thought, spoken = rig.post("/v1/responses", body).json()["output"]
    assert thought["encrypted_content"] == thought["summary"][0]["text"] == "hm\n"
    assert spoken["content"][0]["text"].startswith("Hi")


def test_29_anthropics_events_come_in_order_and_are_numbered_by_block(rig: Rig, parrot: Any) -> None:
    body = {"model": "parrot", "max_tokens": 200, "messages": say("Hi" + CALL), "tools": [NATIVE], "stream": True}
    lines = rig.post("/v1/messages", body).text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [event["type"] for event in events] == [line.removeprefix("event: ") for line in lines if line[:1] == "e"]
    told = [event for event in events if event["type"] != "content_block_delta" or event["index"]]
    assert [(event["type"], event.get("index")) for event in told] == [
        *(("message_start", None), ("ping", None), ("content_block_start", 0), ("content_block_stop", 0)),
        *(("content_block_start", 1), ("content_block_delta", 1), ("content_block_stop", 1)),
        *(("message_delta", None), ("message_stop", None)),
    ]
    assert {"input_tokens", "output_tokens"} <= events[-2]["usage"].keys()


def test_30_anthropics_rules(rig: Rig) -> None:
    body = {"model": "plain", "messages": HI}
    for limit in ({}, {"max_tokens": 0}):
        assert told(rig, "/v1/messages", {**body, **limit})["message"] == "max_tokens is required and must be positive"
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = rig.post("/v1/messages", {**body, "max_tokens": 3, "thinking": thinking})
    assert [block["type"] for block in answer.json()["content"]] == ["text"]
