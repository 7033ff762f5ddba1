"""What holds on every route (contract section 0): methods, bodies, types, times, origins."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api.rig import Rig
from tests.contract.lists import GONE

HI = [{"role": "user", "content": "hi"}]
JSON = "application/json; charset=utf-8"
HEADERS = (
    *("authorization", "content-type", "user-agent", "accept", "x-requested-with", "openai-beta"),
    *(f"x-stainless-{name}" for name in ("arch", "async", "lang", "os", "package-version", "retry-count", "runtime")),
)


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/nope", 404, "404 page not found"),
        ("GET", "/api/generate", 405, "405 method not allowed"),
        ("POST", "/api/tags", 405, "405 method not allowed"),
        ("HEAD", "/api/ps", 405, ""),
        ("HEAD", "/api/version", 200, ""),
        ("HEAD", "/api/tags", 200, ""),
        ("HEAD", "/", 200, ""),
        ("PUT", "/v1/models", 405, "405 method not allowed"),
    ],
)
def test_unknown_paths_and_methods_are_answered_in_plain_text(
    rig: Rig, method: str, path: str, status: int, text: str
) -> None:
    answer = rig.ask(method, path)
    assert (answer.status_code, answer.text) == (status, text)
    assert status == 200 or answer.headers["content-type"].startswith("text/plain")
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", GONE)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_ollama_has_dropped_is_404_as_there(rig: Rig, path: str, method: str) -> None:
    answer = rig.ask(method, path, {})
    assert (answer.status_code, answer.text) == (404, "404 page not found")


@pytest.mark.parametrize(
    "body",
    [b'{"MODEL": "demo"}', b'{"model": "demo"} and more', b'{"model": "demo", "unheard": [1]}', b' {"model":"demo"}'],
)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_a_body_is_json_whatever_its_type_with_keys_in_any_case(rig: Rig, body: bytes, kind: str) -> None:
    assert rig.post("/api/show", body, content_type=kind).status_code == 200


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/api/show", "/api/create", "/api/copy"])
@pytest.mark.parametrize("body", [b"x", b'{"model":', b"[]", b'{"model": 5, "source": 5}'])
def test_a_bad_body_is_400_in_the_native_shape(rig: Rig, path: str, body: bytes) -> None:
    answer = rig.post(path, body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, JSON)
    assert answer.json().keys() == {"error"}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_missing_body_is_eof_under_v1(rig: Rig, path: str) -> None:
    assert rig.ask("POST", path).json()["error"]["message"] == "EOF"


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/api/generate", {"model": "demo", "prompt": "x"}, "application/x-ndjson"),
        ("/api/generate", {"model": "demo", "prompt": "x", "stream": False}, JSON),
        ("/v1/chat/completions", {"model": "demo", "messages": HI}, "application/json"),
        ("/v1/chat/completions", {"model": "demo", "messages": HI, "stream": True}, "text/event-stream"),
    ],
)
def test_each_kind_of_answer_has_its_content_type(rig: Rig, path: str, body: Any, kind: str) -> None:
    assert rig.post(path, body).headers["content-type"] == kind


@pytest.mark.parametrize("header", ["authorization", "x_api_key", "anthropic_version", "OpenAI_Organization"])
def test_keys_are_taken_and_ignored(rig: Rig, header: str) -> None:
    assert rig.get("/api/tags", **{header: "Bearer anything"}).status_code == 200


def test_created_at_is_utc_and_other_times_have_an_offset(rig: Rig) -> None:
    line = rig.lines("/api/chat", {"model": "demo", "messages": HI})[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,8}[1-9]|\.[1-9])?Z", line["created_at"])
    for row in rig.get("/api/tags").json()["models"]:
        assert re.fullmatch(r".*(Z|[+-]\d\d:\d\d)", row["modified_at"])


def test_a_preflight_allows_what_ollamas_does(rig: Rig) -> None:
    answer = rig.ask("OPTIONS", "/api/chat", origin="http://localhost:3000", access_control_request_method="POST")
    assert answer.status_code == 204
    assert set(answer.headers["access-control-allow-methods"].replace(" ", "").split(",")) >= {"GET", "POST", "DELETE"}
    allowed = set(answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(","))
    assert allowed >= set(HEADERS)


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1", "https://0.0.0.0:5", "app://x", "file://x", "tauri://x", "vscode-webview://x"]
)
def test_ollamas_default_origins_are_let_in(rig: Rig, origin: str) -> None:
    assert rig.get("/api/tags", origin=origin).headers["access-control-allow-origin"] == origin


def test_an_extensions_origin_is_let_in_only_when_listed(rig: Rig) -> None:
    page = "chrome-extension://abcdef"
    assert rig.get("/api/tags", origin=page).status_code == 403
    assert rig.get("/api/tags", origin=page, app=rig.app(origins=(page,))).status_code == 200
