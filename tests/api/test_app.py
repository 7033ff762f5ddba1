"""Around every request: routing as in the contract, limits by construction, ids, logs, counts and the last resort."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from powerd import metrics
from powerd.api.app import SOCKET_ROUTES, TCP_ROUTES
from powerd.api.call import Route
from tests.api.rig import Client, Rig

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")


def paths(route: Route) -> list[str]:
    return [route.path, f"{route.path}/x"] if route.below else [route.path]


# ---------------------------------------------------------------- H24: methods and paths


@pytest.mark.parametrize("route", TCP_ROUTES, ids=lambda route: route.path)
def test_h24_every_other_method_is_405_with_allow(rig: Rig, route: Route) -> None:
    for path in paths(route):
        for method in set(METHODS) - set(route.methods) - {"OPTIONS"}:
            answer = rig.ask(method, path)
            assert answer.status_code == 405, method
            assert answer.headers["allow"] == ", ".join(route.methods)
            if method != "HEAD":
                assert "405 method not allowed" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        *("/nope", "/api", "/v1", "/schema", "/docs", "/debug/pprof", "/v1/modelsx", "/api/tags/x", "/api/blobsx"),
        *("/api//tags", "/api/../api/version", "/api/tags;x", "/v1/messagesx", "/API/tags", "/api/tags%00"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_h24_an_unknown_path_is_404_in_plain_text(rig: Rig, method: str, path: str) -> None:
    client = Client(rig.tcp, path, [b""])
    rig.run(client.talk())
    assert (client.status, client.body) == (404, b"404 page not found")
    assert rig.ask(method, "/nope").headers["content-type"] == "text/plain; charset=utf-8"


def test_a_trailing_slash_is_the_same_page(rig: Rig) -> None:
    assert rig.get("/api/tags/").status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags"])
def test_head_has_gets_headers_and_no_body(rig: Rig, path: str) -> None:
    head, get = rig.ask("HEAD", path), rig.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == get.headers["content-length"]


def test_h24_a_target_or_headers_without_end_are_refused(rig: Rig) -> None:
    assert rig.get("/" + "a" * 9000).status_code == 414
    assert rig.get("/api/tags?" + "a" * 9000).status_code == 414
    assert rig.get("/", **{f"x_{number}": "1" for number in range(120)}).status_code == 431
    assert rig.get("/", x_large="a" * 40_000).status_code == 431


def test_the_control_socket_has_ollamas_routes_and_no_others(rig: Rig) -> None:
    assert rig.ask("GET", "/api/version", app=rig.socket).status_code == 200
    assert rig.ask("GET", "/v1/models", app=rig.socket).status_code == 404
    assert {route.path for route in SOCKET_ROUTES} < {route.path for route in TCP_ROUTES}


# ---------------------------------------------------------------- S27: every route has its guards


@pytest.mark.parametrize("route", TCP_ROUTES, ids=lambda route: route.path)
def test_s27_no_route_is_reached_past_the_guards(rig: Rig, route: Route) -> None:
    for method in route.methods:
        for path in paths(route):
            assert rig.ask(method, path, {}, host="evil.com").status_code == 403
            assert rig.ask(method, path, {}, origin="https://evil").status_code == 403


#: Answered without a look at the body.
UNREAD = {
    *("/api/me", "/api/signout"),
    *("/api/experimental/web_search", "/api/experimental/web_fetch"),
}
#: A blob may be as large as the store has room for: test_blobs.
LIMITED = [route for route in TCP_ROUTES if route.methods.keys() & {"POST", "DELETE"} and not route.below]


@pytest.mark.parametrize("route", LIMITED, ids=lambda r: r.path)
def test_h08_every_route_that_reads_a_body_has_a_limit(rig: Rig, route: Route) -> None:
    app = rig.app(inference_body=2000, other_body=1000)
    limit = 2000 if route.inference else 1000
    method = next(method for method in route.methods if method in ("POST", "DELETE"))
    answer = rig.ask(method, route.path, b"{" + b" " * limit + b"}", app=app)
    assert answer.status_code == 413 or route.path in UNREAD
    if answer.status_code == 413:
        assert answer.headers["connection"] == "close"
        assert f"{limit} bytes" in answer.text


def test_routes_that_change_models_are_marked_so(rig: Rig) -> None:
    managing = {route.path for route in TCP_ROUTES if route.manages}
    assert managing == {f"/api/{name}" for name in ("pull", "push", "create", "copy", "delete", "blobs")} | {"/pull"}


@pytest.mark.parametrize("route", TCP_ROUTES, ids=lambda route: route.path)
@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"null",
            b'"x"',
            b"{}",
            b"\xff",
            b'{"model":5}',
            b'{"model":"nope"}',
            b'{"model":"a","model":"b"}',
        ),
        *(b'{"model":"../../etc/passwd"}', b'{"model":"nope","options":7}', b'{"name":"nope","source":"a b"}'),
    ],
)
def test_no_body_makes_any_route_answer_500(rig: Rig, route: Route, body: bytes) -> None:
    for method in route.methods:
        answer = rig.ask(method, route.path, body)
        failed = (
            {501, 502} if route.path == "/pull" else {501}
        )  # a source that does not answer is 502 where nothing streams
        assert answer.status_code < 500 or answer.status_code in failed, (method, answer.text)
        if answer.status_code >= 400 and method != "HEAD":
            assert answer.json()["error"]


# ---------------------------------------------------------------- ids, logs, counts


@pytest.mark.parametrize("given", ["abc", "A.b_c-9", "x" * 64])
def test_a_sane_request_id_is_kept(rig: Rig, given: str) -> None:
    assert rig.get("/nope", x_request_id=given).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, '"', "a\tb"])
def test_any_other_is_replaced(rig: Rig, given: str) -> None:
    ours = rig.ask("GET", "/", x_request_id=given).headers["x-request-id"]
    assert ours != given
    assert len(ours) == 24


def test_the_log_says_what_was_asked_and_never_what_was_said(rig: Rig) -> None:
    with structlog.testing.capture_logs() as logs:
        rig.post("/api/generate", {"model": "demo", "prompt": "a secret", "stream": False}, x_request_id="log-1")
        rig.post("/api/generate", {"model": "nope-secret", "prompt": "x"}, x_request_id="log-2")
    mine = {entry["request"]: entry for entry in logs if entry.get("event") == "answered"}
    assert mine["log-1"]["status"] == 200
    assert (mine["log-1"]["dialect"], mine["log-1"]["route"], mine["log-1"]["model"]) == (
        "ollama",
        "/api/generate",
        "demo:latest",
    )
    assert mine["log-1"]["output_tokens"] == 10
    assert mine["log-1"]["seconds"] >= 0
    assert mine["log-2"]["status"] == 404
    assert "not found" in mine["log-2"]["failure"]
    assert mine["log-2"]["model"] == ""
    assert "a secret" not in str(logs)
    assert [entry["request"] for entry in logs if entry.get("event") == "asked"] == ["log-1", "log-2"]


def sample(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_requests_are_counted_by_route_template_and_status(rig: Rig) -> None:
    asked = {"dialect": "openai", "route": "/v1/models", "status": "404"}
    before, seconds = (
        sample("power_requests_total", **asked),
        sample("power_request_seconds_count", dialect="openai", route="/v1/models"),
    )
    rig.get("/v1/models/nope")
    assert sample("power_requests_total", **asked) == before + 1
    assert sample("power_request_seconds_count", dialect="openai", route="/v1/models") == seconds + 1


def test_labels_never_hold_what_a_client_sent(rig: Rig) -> None:
    rig.get("/some/odd/path")
    rig.post("/api/chat", {"model": "an-odd-model", "messages": [{"role": "user", "content": "x"}]})
    assert b"odd" not in metrics.exposition()


def test_tokens_and_first_texts_are_counted_by_model(rig: Rig) -> None:
    before = sample("power_tokens_total", model="demo:latest", kind="output")
    first = sample("power_time_to_first_token_seconds_count", model="demo:latest")
    rig.post("/api/generate", {"model": "demo", "prompt": "x", "options": {"num_predict": 7}})
    assert sample("power_tokens_total", model="demo:latest", kind="output") == before + 7
    assert sample("power_time_to_first_token_seconds_count", model="demo:latest") == first + 1


# ---------------------------------------------------------------- the last resort


@pytest.mark.parametrize(("path", "method"), [("/api/tags", "GET"), ("/v1/models", "GET")])
def test_an_unexpected_failure_is_logged_with_its_id_and_never_shown(rig: Rig, path: str, method: str) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError("a secret of ours")

    app = rig.app(library=Broken())
    with structlog.testing.capture_logs() as logs:
        answer = rig.ask(method, path, app=app, x_request_id="broken-1")
    assert answer.status_code == 503
    assert "see the log under request id broken-1" in answer.text
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert [entry for entry in logs if entry.get("log_level") == "error" and entry["request"] == "broken-1"]


def test_while_stopping_nothing_new_is_begun(rig: Rig) -> None:
    rig.stopping = True
    try:
        for path, body in (
            ("/api/generate", {"model": "demo", "prompt": "x"}),
            ("/api/generate", {"model": "demo"}),
            ("/api/chat", {"model": "demo", "messages": [{"role": "user", "content": "x"}]}),
            ("/v1/completions", {"model": "demo", "prompt": "x"}),
        ):
            answer = rig.post(path, body)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
            assert "stopping" in answer.text
        assert rig.get("/api/tags").status_code == 200
    finally:
        rig.stopping = False


def test_a_websocket_is_closed(rig: Rig) -> None:
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    rig.run(asyncio.wait_for(_call(rig.tcp({"type": "websocket", "path": "/"}, receive, send)), 5))
    assert [message["type"] for message in sent] == ["websocket.close"]


async def _call(work: Any) -> None:
    await work
