"""Ollama's routes over real owners: every special case of the contract's sections 1.2 to 1.12, in its order."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.rig import Rig

HI = [{"role": "user", "content": "hi"}]
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
NS = ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration")


@pytest.fixture
def declare(rig: Rig) -> Iterator[Any]:
    yield rig.declare
    rig.withdraw()


def error(rig: Rig, path: str, body: Any, status: int) -> str:
    answer = rig.post(path, body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    told = answer.json()
    assert told.keys() == {"error"}
    return str(told["error"])


# ---------------------------------------------------------------- what there is


def test_the_root_is_what_every_client_probes(rig: Rig) -> None:
    answer = rig.get("/")
    assert (answer.status_code, answer.text) == (200, "Ollama is running")
    assert answer.headers["content-type"].startswith("text/plain")


def test_the_version_is_ollamas_and_ours_stands_beside_it(rig: Rig) -> None:
    told = rig.get("/api/version").json()
    assert re.fullmatch(r"0\.\d+\.\d+", told["version"])
    assert told["powerd"] == "0.1.0"


def test_there_is_no_cloud(rig: Rig) -> None:
    assert rig.get("/api/status").json()["cloud"]["disabled"] is True


def test_tags_list_every_name_newest_first(rig: Rig, declare: Any) -> None:
    declare("mine")
    models = rig.get("/api/tags").json()["models"]
    assert {model["name"] for model in models} == {
        "demo:latest",
        "ns/tuned:v1",
        "embed:latest",
        "plain:latest",
        "mine:latest",
    }
    times = [model["modified_at"] for model in models]
    assert times == sorted(times, reverse=True)
    demo = next(model for model in models if model["name"] == "demo:latest")
    assert list(demo) == ["name", "model", "modified_at", "size", "digest", "details", "capabilities"]
    assert demo["model"] == demo["name"]
    assert RFC3339.fullmatch(demo["modified_at"])
    assert re.fullmatch(r"[0-9a-f]{64}", demo["digest"])
    assert demo["size"] > 3_000_000
    assert demo["capabilities"] == ["completion", "tools", "thinking"]
    assert demo["details"] == {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": None,
        "parameter_size": "2.89M",
        "quantization_level": "Q8_0",
        "context_length": 1024,
        "embedding_length": demo["details"]["embedding_length"],
    }
    assert next(m for m in models if m["name"] == "embed:latest")["capabilities"] == ["embedding"]


def test_ps_tells_what_is_loaded_and_until_when(rig: Rig) -> None:
    rig.post("/api/generate", {"model": "DEMO", "keep_alive": "10m"})
    row = next(row for row in rig.get("/api/ps").json()["models"] if row["name"] == "demo:latest")
    assert list(row) == ["name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length"]
    assert RFC3339.fullmatch(row["expires_at"])
    assert row["context_length"] == 1024
    assert row["details"]["parent_model"] == ""
    assert "context_length" not in row["details"]
    assert (
        row["digest"] == next(m for m in rig.get("/api/tags").json()["models"] if m["name"] == "demo:latest")["digest"]
    )


def test_ps_lists_the_longest_remaining_time_first_and_for_ever_is_far_away(rig: Rig, declare: Any) -> None:
    declare("short", context=200)
    rig.post("/api/generate", {"model": "short", "keep_alive": "1m"})
    rig.post("/api/generate", {"model": "demo", "keep_alive": -1})
    names = [row["name"] for row in rig.get("/api/ps").json()["models"]]
    assert names.index("demo:latest") < names.index("short:latest")
    assert rig.get("/api/ps").json()["models"][0]["expires_at"] > "2300"
    rig.post("/api/generate", {"model": "demo", "keep_alive": "5m"})


def test_show_tells_everything(rig: Rig) -> None:
    shown = rig.post("/api/show", {"model": "ns/tuned:v1"}).json()
    assert list(shown) == [
        *(
            "license",
            "modelfile",
            "parameters",
            "template",
            "details",
            "model_info",
            "tensors",
            "capabilities",
            "modified_at",
        ),
    ]
    assert shown["license"] == "Do as you like."
    assert shown["parameters"].splitlines() == [
        f"{'num_predict':<30} 3",
        f'{"stop":<30} "<a>"',
        f'{"stop":<30} "<b>"',
    ]
    info = shown["model_info"]
    assert info["general.architecture"] == "llama"
    assert info["llama.context_length"] == 1024
    assert info["general.parameter_count"] > 2_000_000
    assert info["tokenizer.ggml.tokens"] is None
    assert "tokenizer.chat_template" not in info
    assert "general.name" not in info
    assert "im_start" in shown["template"]
    assert shown["tensors"][0].keys() == {"name", "type", "shape"}
    assert "# FROM ns/tuned:v1\n" in shown["modelfile"]
    assert "PARAMETER stop <a>\n" in shown["modelfile"]
    assert "LICENSE Do as you like.\n" in shown["modelfile"]


def test_show_verbose_has_the_arrays(rig: Rig) -> None:
    info = rig.post("/api/show", {"model": "demo", "verbose": True}).json()["model_info"]
    assert len(info["tokenizer.ggml.tokens"]) > 100


def test_show_of_a_declared_model_shows_what_was_declared(rig: Rig, declare: Any) -> None:
    declare(
        "coach", system='Say "hi"\nkindly.', messages=(("user", "a"), ("assistant", "b")), parameters={"top_p": 0.5}
    )
    shown = rig.post("/api/show", {"name": "coach", "system": "other", "options": {"seed": 5}}).json()
    assert shown["system"] == "other"
    assert shown["messages"] == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert f"{'seed':<30} 5" in shown["parameters"]
    assert 'SYSTEM """Say "hi"\nkindly."""' in shown["modelfile"]
    assert "MESSAGE assistant b" in shown["modelfile"]


def test_show_gives_copilot_the_name_it_asked_for(rig: Rig) -> None:
    shown = rig.post("/api/show", {"model": "demo"}, user_agent="GitHubCopilotChat/0.2").json()
    assert shown["model_info"]["general.basename"] == "demo"


def test_show_errors_are_the_contracts(rig: Rig) -> None:
    assert error(rig, "/api/show", {}, 400) == "model is required"
    assert error(rig, "/api/show", {"model": "Nope"}, 404) == "model 'Nope:latest' not found"
    assert error(rig, "/api/show", {"model": "a b"}, 400) == "invalid model name"


# ---------------------------------------------------------------- generate (1.2), in evaluation order

FULL = "registry.ollama.ai/library/demo:latest"
PLAIN = "registry.ollama.ai/library/plain:latest"
TOOL = {"type": "function", "function": {"name": "f"}}
RAW = "raw mode does not support template, system, or context"
GENERATE_ERRORS = [
    ({"model": "nope", "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ({}, 404, "model '' not found"),
    ({"model": "a:b:c d"}, 400, "invalid model name"),
    ({"model": "Nope:V1"}, 404, "model 'Nope:V1' not found"),
    ({"model": "demo", "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ({"model": "demo", "prompt": "x", "raw": True, "system": "y"}, 400, RAW),
    ({"model": "plain", "prompt": "x", "think": True}, 400, '"plain" does not support thinking'),
    ({"model": "embed", "prompt": "x"}, 400, '"embed" does not support generate'),
    ({"model": "demo", "prompt": "x", "suffix": "y"}, 400, f"{FULL} does not support insert"),
    (
        {"model": "demo", "prompt": "x", "images": ["AAAA"]},
        400,
        "registry.ollama.ai/library/demo:latest does not support vision",
    ),
    ({"model": "demo", "options": {"temperature": "hot"}}, 400, 'option "temperature" must be of type float32'),
    ({"model": "demo", "prompt": "x", "options": {"stop": "x"}}, 400, 'option "stop" must be of type array'),
    ({"model": "demo", "keep_alive": "10"}, 400, 'time: missing unit in duration "10"'),
]


@pytest.mark.parametrize(("body", "status", "text"), GENERATE_ERRORS)
@pytest.mark.parametrize("stream", [True, False])
def test_generates_errors_have_their_status_and_text(rig: Rig, body: Any, status: int, text: str, stream: bool) -> None:
    assert error(rig, "/api/generate", {**body, "stream": stream}, status) == text


def test_generate_streams_by_default(rig: Rig) -> None:
    lines = rig.lines("/api/generate", {"model": "demo", "prompt": "x", "options": {"num_predict": 4}})
    assert "".join(line["response"] for line in lines) == "0 1 2 3 "
    *chunks, last = lines
    assert all(line.keys() == {"model", "created_at", "response", "done"} and not line["done"] for line in chunks)
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "length", 4)
    assert set(NS) <= set(last)
    assert all(type(last[name]) is int for name in NS)
    assert RFC3339.fullmatch(last["created_at"])
    assert last["created_at"].endswith("Z")


def test_generate_at_once_is_one_json_object(rig: Rig) -> None:
    answer = rig.post("/api/generate", {"model": "Demo:LATEST", "prompt": "x", "stream": False})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json()["model"] == "Demo:LATEST"
    assert answer.json()["response"] == "0 1 2 3 4 5 6 7 8 9 "
    assert answer.json()["total_duration"] >= answer.json()["load_duration"] > 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "load"),
        ({"keep_alive": "1m"}, "load"),
        ({"keep_alive": 0}, "unload"),
        ({"keep_alive": "0s", "stream": True}, "unload"),
    ],
)
def test_an_empty_prompt_loads_or_unloads_with_one_plain_object(rig: Rig, body: Any, reason: str) -> None:
    rig.post("/api/generate", {"model": "demo", "keep_alive": 0})  # it may be there by another name
    for path, field, value in (
        ("/api/generate", "response", ""),
        ("/api/chat", "message", {"role": "assistant", "content": ""}),
    ):
        answer = rig.post(path, {"model": "demo", **body})
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        told = answer.json()
        assert (told["model"], told[field], told["done"], told["done_reason"]) == ("demo", value, True, reason)
        loaded = {row["name"] for row in rig.get("/api/ps").json()["models"]}
        assert ("demo:latest" in loaded) is (reason == "load")


def test_unloading_what_is_not_loaded_is_fine(rig: Rig) -> None:
    for _ in range(2):
        assert rig.post("/api/generate", {"model": "ns/tuned:v1", "keep_alive": 0}).json()["done_reason"] == "unload"


def test_num_predict_0_means_none_given(rig: Rig) -> None:
    assert (
        rig.lines("/api/generate", {"model": "demo", "prompt": "x", "options": {"num_predict": 0}})[-1]["eval_count"]
        == 10
    )


def test_a_rendered_prompt_can_be_seen_without_generating(rig: Rig) -> None:
    told = rig.post(
        "/api/generate", {"model": "demo", "prompt": "hi", "system": "s", "_debug_render_only": True}
    ).json()
    assert "<|im_start|>user\nhi" in told["_debug_info"]["rendered_template"]
    assert told["done"] is False
    raw = rig.post("/api/generate", {"model": "demo", "prompt": "hi", "raw": True, "_debug_render_only": True}).json()
    assert raw["_debug_info"]["rendered_template"] == "hi"


# ---------------------------------------------------------------- chat (1.3)

CHAT_ERRORS = [
    ({}, 400, "model is required"),
    ({"model": "a b"}, 400, "invalid model name"),
    ({"model": "nope", "messages": HI}, 404, "model 'nope' not found"),
    ({"model": "embed", "messages": HI}, 400, '"embed" does not support chat'),
    ({"model": "Plain", "messages": HI, "tools": [TOOL]}, 400, f"{PLAIN} does not support tools"),
    ({"model": "plain", "messages": HI, "think": "high"}, 400, '"plain" does not support thinking'),
    (
        {"model": "demo", "messages": [{**HI[0], "images": ["eA=="]}]},
        400,
        "registry.ollama.ai/library/demo:latest does not support vision",
    ),
    ({"model": "demo", "messages": [{"content": 5}]}, 400, "messages[0].content: expected string or null, got integer"),
    ({"model": "demo", "messages": HI, "stream": "yes"}, 400, "stream: expected boolean, got string"),
]


@pytest.mark.parametrize(("body", "status", "text"), CHAT_ERRORS)
def test_chats_errors_have_their_status_and_text(rig: Rig, body: Any, status: int, text: str) -> None:
    assert error(rig, "/api/chat", body, status) == text


def test_chat_streams_messages(rig: Rig) -> None:
    lines = rig.lines("/api/chat", {"model": "demo", "messages": HI, "options": {"num_predict": 3}})
    assert "".join(line["message"]["content"] for line in lines) == "0 1 2 "
    assert all(line["message"]["role"] == "assistant" for line in lines)
    assert lines[-1]["done_reason"] == "length"
    assert "context" not in lines[-1]


def test_h27_the_routes_content_type_wins_over_accept(rig: Rig) -> None:
    answer = rig.post("/api/chat", {"model": "demo", "messages": HI, "stream": None}, accept="text/event-stream")
    assert answer.headers["content-type"] == "application/x-ndjson"


def test_h11_unknown_fields_are_ignored_everywhere(rig: Rig) -> None:
    body = {"model": "demo", "messages": [{**HI[0], "x": 1}], "n_discard": 5, "options": {"grammar": "x", "slot_id": 1}}
    assert rig.lines("/api/chat", body)[-1]["done"]


@pytest.mark.parametrize("text", ["עִבְרִית", "a\u200bb", "\x00", "💡" * 50])
def test_h07_odd_texts_reach_the_template_unchanged(rig: Rig, text: str) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": text}], "_debug_render_only": True}
    assert text in rig.post("/api/chat", body).json()["_debug_info"]["rendered_template"]


def test_a_default_model_answers_where_none_was_named(rig: Rig) -> None:
    app = rig.app(default_model="demo")
    answer = rig.ask("POST", "/api/chat", {"messages": HI, "stream": False}, app=app)
    assert answer.json()["model"] == "demo"
    assert rig.ask("POST", "/api/generate", {"prompt": "x", "stream": False}, app=app).json()["model"] == "demo"


# ---------------------------------------------------------------- changing models (1.10 to 1.12)


def test_pull_of_a_declared_model_answers_the_usual_statuses(rig: Rig, declare: Any) -> None:
    declare("here")
    lines = rig.lines("/api/pull", {"model": "here"})
    assert [line["status"] for line in lines if "digest" not in line] == [
        *("pulling manifest", "verifying sha256 digest", "writing manifest", "success")
    ]
    layer = next(line for line in lines if "digest" in line)
    assert layer["status"] == f"pulling {layer['digest'][7:19]}"
    assert layer["total"] == layer["completed"] > 0
    answer = rig.post("/api/pull", {"name": "here", "stream": False})
    assert answer.json() == {"status": "success"}
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


class _Empty(http.server.BaseHTTPRequestHandler):
    """A registry without a single model."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def empty_registry() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_pull_of_a_missing_model_has_the_text_clients_match(rig: Rig, empty_registry: str) -> None:
    text = "pull model manifest: file does not exist"
    wanted = {"model": f"{empty_registry}/library/nope", "insecure": True}
    assert rig.lines("/api/pull", wanted) == [{"status": "pulling manifest"}, {"error": text}]
    assert error(rig, "/api/pull", {**wanted, "stream": False}, 404) == text
    for name in ("", "a b", "../x"):
        assert error(rig, "/api/pull", {"model": name}, 400) == "invalid model name"


def test_copy_and_delete_answer_with_an_empty_body(rig: Rig) -> None:
    answer = rig.post("/api/copy", {"source": "Demo", "destination": "other:v2"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert rig.post("/api/show", {"model": "other:v2"}).status_code == 200
    answer = rig.ask("DELETE", "/api/delete", {"name": "other:v2"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert error(rig, "/api/show", {"model": "other:v2"}, 404)


def test_copy_and_delete_errors_are_the_contracts(rig: Rig) -> None:
    assert error(rig, "/api/copy", {"source": "a b", "destination": "x"}, 400) == 'source "a b" is invalid'
    assert error(rig, "/api/copy", {"source": "demo", "destination": ""}, 400) == 'destination "" is invalid'
    assert error(rig, "/api/copy", {"source": "nope", "destination": "x"}, 404) == 'model "nope" not found'
    for name, status, text in (("nope", 404, "model 'nope' not found"), ("a b", 400, 'name "a b" is invalid')):
        answer = rig.ask("DELETE", "/api/delete", {"model": name})
        assert (answer.status_code, answer.json()["error"]) == (status, text)


def test_a_declared_model_cannot_be_deleted_here(rig: Rig, declare: Any) -> None:
    declare("mine")
    answer = rig.ask("DELETE", "/api/delete", {"model": "mine"})
    assert answer.status_code == 409
    assert "models.yaml" in answer.json()["error"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", "a/../b", "a\x00b", "%2e%2e", "a" * 1000, "é"]
)
def test_s28_a_name_that_is_none_is_refused_alike_everywhere(rig: Rig, name: str) -> None:
    for path in ("/api/generate", "/api/chat", "/api/show", "/api/pull"):
        assert error(rig, path, {"model": name, "messages": HI}, 400) == "invalid model name"
    assert json.loads(rig.post("/v1/completions", {"model": name}).text)["error"]["message"] == "invalid model name"
