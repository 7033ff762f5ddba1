"""Every error text of the contract's sections 1 and 4, as a client or the author of a Modelfile meets it.

A row that ends in `…` has that beginning. Where powerd's status differs on purpose, the compatibility page says why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from powerd.errors import ContextOverflow, LoadFailed, RunnerDied
from powerd.modelfile import ModelfileError, build, parse
from powerd.store.manifest import CONFIG_TYPE, Layer, build_manifest
from tests.api.rig import DEMO, EMBED, Rig

HI = [{"role": "user", "content": "hi"}]
X = {"model": "demo", "prompt": "x"}
CHAT = {"model": "demo", "messages": HI}
FULL = "registry.ollama.ai/library"
TOOL = {"type": "function", "function": {"name": "f"}}
RAW = "raw mode does not support template, system, or context"
THINK = 'must be "high", "medium", "low", "max", true, or false'
NO_CLOUD = "ollama cloud is disabled: remote model is unavailable"
NO_DIGEST = "sha256:" + "0" * 64
DEMO_DIGEST = "sha256:" + hashlib.sha256(DEMO.read_bytes()).hexdigest()
EMBED_DIGEST = "sha256:" + hashlib.sha256(EMBED.read_bytes()).hexdigest()

#: Route, body, status, text.
GENERATE = [
    ({"model": "nope", "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ({"prompt": "x"}, 404, "model '' not found"),
    ({"model": "a b"}, 400, "invalid model name"),
    ({"model": "m:local:cloud"}, 400, 'use either :local or :cloud, not both: "m:local:cloud"'),
    ({"model": "m:x-cloud:local"}, 400, 'use either :local or :cloud, not both: "m:x-cloud:local"'),
    ({"model": "Nope"}, 404, "model 'Nope' not found"),
    ({"model": "nope:local"}, 404, "model 'nope:local' not found"),
    ({"model": "nope:cloud"}, 403, NO_CLOUD),
    ({"model": "nope:1b-cloud"}, 403, NO_CLOUD),
    ({"model": "nope:1b:cloud"}, 403, NO_CLOUD),
    ({**X, "raw": True, "template": "y"}, 400, RAW),
    ({**X, "raw": True, "system": "y"}, 400, RAW),
    ({**X, "raw": True, "context": [1]}, 400, RAW),
    ({"model": "plain", "prompt": "x", "think": True}, 400, '"plain" does not support thinking'),
    ({"model": "embed", "prompt": "x"}, 400, '"embed" does not support generate'),
    ({**X, "suffix": "y"}, 400, f"{FULL}/demo:latest does not support insert"),
    ({**X, "template": "{{ if"}, 400, "template error: …"),
    ({**X, "options": {"temperature": "hot"}}, 400, 'option "temperature" must be of type float32'),
    ({**X, "options": {"top_k": "5"}}, 400, 'option "top_k" must be of type integer'),
    ({**X, "options": {"use_mmap": 1}}, 400, 'option "use_mmap" must be of type boolean'),
    ({**X, "options": {"stop": "x"}}, 400, 'option "stop" must be of type array'),
    ({**X, "options": {"stop": [1]}}, 400, 'option "stop" must be of an array of strings'),
    ({**X, "format": "foo"}, 400, 'invalid format: "foo"; expected "json" or a valid JSON Schema object'),
    ({**X, "think": "x"}, 400, f'invalid think value: "x" ({THINK})'),
    ({**X, "think": 5}, 400, 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
    ({**X, "keep_alive": "10"}, 400, 'time: missing unit in duration "10"'),
    ({**X, "keep_alive": "-1"}, 400, 'time: missing unit in duration "-1"'),
    ({**X, "keep_alive": ""}, 400, 'time: invalid duration ""'),
    ({**X, "keep_alive": True}, 400, "keep_alive: Unsupported type: 'bool'"),
    ({**X, "images": ["AA-A"]}, 400, "illegal base64 data at input byte 2"),
]
CHATS = [
    ({"messages": HI}, 400, "model is required"),
    ({"model": "a b"}, 400, "invalid model name"),
    ({"model": "nope"}, 404, "model 'nope' not found"),
    ({**CHAT, "model": "embed"}, 400, '"embed" does not support chat'),
    ({**CHAT, "model": "plain", "tools": [TOOL]}, 400, f"{FULL}/plain:latest does not support tools"),
    ({**CHAT, "model": "plain", "think": "low"}, 400, '"plain" does not support thinking'),
    ({**CHAT, "top_logprobs": -1}, 400, "top_logprobs must be between 0 and 20"),
    ({**CHAT, "model": "nope:cloud"}, 403, NO_CLOUD),
]
OTHERS = [
    ("POST", "show", {}, 400, "model is required"),
    ("POST", "show", {"model": "Nope"}, 404, "model 'Nope:latest' not found"),
    ("POST", "show", {"model": "a b"}, 400, "invalid model name"),
    ("POST", "show", {"model": "m:cloud"}, 403, "ollama cloud is disabled: remote model details are unavailable"),
    ("POST", "pull", {}, 400, "invalid model name"),
    ("POST", "pull", {"model": "a b"}, 400, "invalid model name"),
    *(("POST", "pull", {"model": name}, 403, NO_CLOUD) for name in ("big:cloud", "ns/big:1b-cloud")),
    ("POST", "create", {"model": "new", "from": "big:cloud"}, 403, NO_CLOUD),
    ("POST", "push", {}, 400, "model is required"),
    ("POST", "copy", {"source": "a b", "destination": "c"}, 400, 'source "a b" is invalid'),
    ("POST", "copy", {"source": "demo", "destination": "a b"}, 400, 'destination "a b" is invalid'),
    ("POST", "copy", {"source": "nope", "destination": "c"}, 404, 'model "nope" not found'),
    ("DELETE", "delete", {"model": "nope"}, 404, "model 'nope' not found"),
    ("DELETE", "delete", {"name": "a b"}, 400, 'name "a b" is invalid'),
    ("POST", "blobs/sha256:12", {}, 400, "invalid digest format"),
    ("POST", f"blobs/{NO_DIGEST}", {}, 400, f'digest mismatch, expected "{NO_DIGEST}", got "sha256:…'),
    ("POST", "embed", {"model": "nope"}, 404, 'model "nope" not found, try pulling it first'),
    ("POST", "embed", {"input": "x"}, 404, "model '' not found"),
    ("POST", "embed", {"model": "embed", "input": [1]}, 400, "invalid input type"),
    ("POST", "embed", {"model": "embed", "input": {}}, 400, "invalid input type"),
    ("POST", "embeddings", {"prompt": "x"}, 400, "model is required"),
    ("POST", "embeddings", {"model": "nope"}, 404, 'model "nope" not found, try pulling it first'),
    ("POST", "me", {}, 403, "ollama cloud is disabled: the account is unavailable"),
    ("POST", "signout", None, 401, "you are not currently signed in"),
    ("DELETE", "user/keys/abc", None, 401, "you are not currently signed in"),
    ("POST", "experimental/web_search", {}, 403, "ollama cloud is disabled: web search is unavailable"),
    ("POST", "experimental/web_fetch", {}, 403, "ollama cloud is disabled: web fetch is unavailable"),
    *(
        ("POST", path, None, 400, "missing request body")
        for path in ("generate", "chat", "show", "pull", "create", "embed")
    ),
]
CREATES = [
    ({"model": "a b", "from": "demo"}, "invalid model name"),
    ({}, "neither 'from' or 'files' was specified"),
    ({"files": {"/m.gguf": DEMO_DIGEST}}, "file path must be relative"),
    ({"files": {"../m.gguf": DEMO_DIGEST}}, "file path must be relative"),
    ({"files": {"m.gguf": ""}}, "invalid digest format"),
    ({"files": {"m.bin": "TEXT"}}, "unknown type…"),
    ({"files": {"m.gguf": "TEXT"}}, "supplied file was not in GGUF format…"),
    ({"from": "demo", "adapters": {"a": EMBED_DIGEST, "b": EMBED_DIGEST}}, "only one adapter is currently supported"),
    ({"from": "demo", "template": "{{ if"}, "template error: …"),
    ({"from": "demo", "quantize": "Q9"}, "unsupported quantization type Q9 - supported types are …"),
    ({"from": "demo", "quantize": "Q4_0"}, "quantization is only supported for F16, BF16 and F32 models"),
    ({"from": "demo", "info": {"model_family": 1}}, 'info field "model_family" must be a string'),
    ({"from": "demo", "info": {"context_length": "x"}}, 'info field "context_length" must be a number'),
    ({"from": "demo", "info": {"context_length": -1}}, 'info field "context_length" must be a non-negative integer'),
]
MODELFILES = [
    ("SYSTEM x", "no FROM line"),
    (
        "FROM x\nBOGUS y",
        '(line 2): command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", '
        '"parser", "parameter", "message", or "requires"',
    ),
    ('FROM x\nSYSTEM """y', "(line 2): unexpected EOF…"),
    ("FROM x\nMESSAGE robot y", '(line 2): message role must be one of "system", "user", or "assistant"'),
    ("FROM x\nPARAMETER bogus 1", "(line 2): unknown parameter 'bogus'"),
    ("FROM x\nPARAMETER top_p y", "(line 2): top_p: invalid float value [y]"),
    ("FROM x\nPARAMETER top_k y", "(line 2): top_k: invalid int value [y]"),
    ("FROM x\nPARAMETER use_mmap y", "(line 2): use_mmap: invalid bool value [y]"),
    ("FROM x\nREQUIRES y", "requires must be a valid semver (e.g. 0.14.0)"),
]


def says(found: str, text: str) -> bool:
    return found.startswith(text[:-1]) if text.endswith("…") else found == text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [*(("generate", *row) for row in GENERATE), *(("chat", *row) for row in CHATS)],
)
def test_before_the_first_byte_an_error_has_its_status_and_text(
    rig: Rig, path: str, body: Any, status: int, text: str, stream: bool
) -> None:
    answer = rig.post(f"/api/{path}", {**body, "stream": stream})
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    assert says(answer.json()["error"], text), answer.json()["error"]


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), OTHERS)
def test_the_other_routes_errors(rig: Rig, method: str, path: str, body: Any, status: int, text: str) -> None:
    answer = rig.ask(method, f"/api/{path}", body)
    assert answer.status_code == status, answer.text
    assert says(answer.json()["error"], text), answer.json()["error"]


@pytest.fixture(scope="module")
def text_digest(rig: Rig) -> str:
    digest = "sha256:" + hashlib.sha256(b"only text").hexdigest()
    assert rig.post(f"/api/blobs/{digest}", b"only text").status_code in {200, 201}
    return digest


@pytest.mark.parametrize(("body", "text"), CREATES, ids=str)
def test_create_refuses_in_ollamas_words(rig: Rig, text_digest: str, body: dict[str, Any], text: str) -> None:
    sent = json.loads(json.dumps({"model": "new", "stream": False, **body}).replace("TEXT", text_digest))
    answer = rig.post("/api/create", sent)
    assert answer.status_code == 400, answer.text
    assert says(answer.json()["error"], text), answer.json()["error"]


@pytest.mark.parametrize(("written", "text"), MODELFILES)
def test_a_modelfile_is_refused_in_ollamas_words(written: str, text: str) -> None:
    with pytest.raises(ModelfileError) as caught:
        build(parse(written))
    assert says(str(caught.value), text), str(caught.value)


def test_failures_of_the_engine_have_the_words_clients_look_for() -> None:
    assert "model runner has unexpectedly stopped" in RunnerDied("x").message
    assert LoadFailed("x").message == "model failed to load: x"
    told = ContextOverflow(10, 5, "y").message
    assert "the prompt is longer than the context length currently available to the model" in told
    assert "request (10 tokens) exceeds the available context size (5 tokens)" in told


def test_a_model_that_is_known_to_think_elsewhere_is_told_to_be_pulled_again(rig: Rig) -> None:
    rig.post("/api/copy", {"source": "plain", "destination": "deepseek-r1:old"})
    told = rig.post("/api/chat", {"model": "deepseek-r1:old", "messages": HI, "think": True}).json()["error"]
    rig.ask("DELETE", "/api/delete", {"model": "deepseek-r1:old"})
    again = "Pull the model again to get the latest version with full thinking support"
    assert told == f'"deepseek-r1:old" does not support thinking. {again}'


# ---------------------------------------------------------------- stubs of models that run elsewhere (1.14)


@pytest.fixture
def stub(rig: Rig) -> Iterator[Any]:
    """`stub(host)` puts the manifest of a model that runs at `host` into the store."""
    manifest = rig.store.root / "manifests/registry.ollama.ai/library/stub/latest"

    def put(host: str) -> None:
        digest, size = rig.store.put(json.dumps({"remote_host": host, "remote_model": "big"}).encode())
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_bytes(build_manifest(Layer(CONFIG_TYPE, digest, size), []))
        rig.run(rig.library.refresh())

    yield put
    manifest.unlink()
    rig.run(rig.library.refresh())


@pytest.mark.parametrize(
    ("host", "status", "text"),
    [
        ("https://ollama.com:443", 403, NO_CLOUD),
        ("ollama.com", 403, NO_CLOUD),
        ("", 403, NO_CLOUD),
        ("https://elsewhere.example", 400, "this server cannot run this remote model"),
        ("ollama.com.evil.example:443", 400, "this server cannot run this remote model"),
    ],
)
def test_a_stub_is_not_run(rig: Rig, stub: Any, host: str, status: int, text: str) -> None:
    stub(host)
    for path, body in (("generate", {"prompt": "x"}), ("chat", {"messages": HI})):
        answer = rig.post(f"/api/{path}", {"model": "Stub", **body})
        assert (answer.status_code, answer.json()) == (status, {"error": text})
    assert "stub:latest" not in {row["name"] for row in rig.get("/api/tags").json()["models"]}


def test_local_is_where_models_are_anyway_and_a_model_named_like_the_clouds_is_served(rig: Rig) -> None:
    asked = {"prompt": "x", "stream": False, "options": {"num_predict": 1}}
    for name in ("demo:local", "Demo:latest:LOCAL"):
        assert rig.post("/api/generate", {"model": name, **asked}).json()["model"] == name
    rig.post("/api/copy", {"source": "demo", "destination": "demo:cloud"})
    assert rig.post("/api/generate", {"model": "demo:cloud", **asked}).status_code == 200
    rig.ask("DELETE", "/api/delete", {"model": "demo:cloud"})
    assert rig.post("/api/generate", {"model": "demo:cloud", **asked}).status_code == 403
