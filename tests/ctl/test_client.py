from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from powerd import __version__
from powerd.control.schema import Done, ModelRequest
from powerd.ctl import client as module
from powerd.ctl import endpoint
from powerd.ctl.client import Client, objects, understood
from powerd.ctl.exits import Failed, Refused, Unreachable
from tests.ctl.scripted_daemon import Reply, ScriptedDaemon, document, ndjson


@pytest.fixture
def client(daemon: ScriptedDaemon) -> Client:
    return Client(str(daemon.path))


def test_a_request_and_its_answer(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.script["POST /v1/load"] = document({"message": "loaded", "later_field": 1})
    assert client.ask("POST", "/v1/load", Done, ModelRequest("demo", hold=5.0)) == Done("loaded")
    assert daemon.asked == [("POST /v1/load", {"model": "demo", "hold": 5.0})]


def test_an_error_is_the_daemons_own_sentence(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.script["GET /v1/status"] = document({"error": "not today", "code": "busy"}, status=503)
    with pytest.raises(Refused, match=r"^not today$") as caught:
        client.fetch("GET", "/v1/status")
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"404 page not found", "powerd answered 404 to GET /v1/status: 404 page not found"),
        (b"", "powerd answered 404 to GET /v1/status: Not Found"),
        (b"[1]", r"powerd answered 404 to GET /v1/status: \[1\]"),
        (b'{"detail":1}', 'powerd answered 404 to GET /v1/status: {"detail":1}'),
        (b"\xff" * 3, "powerd answered 404 to GET /v1/status: \ufffd"),
        (b"[" * 100_000, "powerd answered 404 to GET /v1/status"),
    ],
)
def test_an_error_in_a_foreign_shape_is_named(daemon: ScriptedDaemon, client: Client, body: bytes, text: str) -> None:
    daemon.script["GET /v1/status"] = Reply(404, body)
    with pytest.raises(Refused, match=text) as caught:
        client.fetch("GET", "/v1/status")
    assert len(caught.value.message) < 300


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="there is no socket"):
        Client(str(tmp_path / "none")).fetch("GET", "/v1/status")


def test_a_daemon_that_hangs_up_is_unreachable(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.script["GET /v1/status"] = Reply(ending="silent")
    with pytest.raises(Unreachable, match="closed the connection without an answer"):
        client.fetch("GET", "/v1/status")


def test_a_daemon_that_says_nothing_is_given_up_in_time(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.script["GET /v1/status"] = Reply(ending="mute")
    with pytest.raises(Unreachable, match="did not answer within 0 seconds"):
        client.fetch("GET", "/v1/status", timeout=0.05)
    assert daemon.went_away.wait(5), "the connection must not stay open"


def test_what_is_not_http_is_unreachable(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_say, args=(listener, b"220 mail.example ESMTP\r\n"))
        thread.start()
        with pytest.raises(Unreachable, match="not powerd's socket"):
            Client(str(path)).fetch("GET", "/v1/status")
        thread.join()


def _say(listener: socket.socket, text: bytes) -> None:
    peer, _ = listener.accept()
    with peer:
        peer.sendall(text)
        peer.recv(65536)


def test_the_first_socket_that_accepts_is_used(
    daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    monkeypatch.setattr(endpoint, "candidates", lambda *_: [tmp_path / "none", stale, daemon.path])
    daemon.script["GET /v1/status"] = Reply(body=b"{}")
    assert Client(None).fetch("GET", "/v1/status") == b"{}"


def test_a_body_refused_before_it_was_read_still_shows_the_refusal(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.script["POST /api/generate"] = Reply(413, b'{"error":"the body is over 1 MiB"}', read=False)
    with pytest.raises(Failed) as caught:
        client.fetch("POST", "/api/generate", {"prompt": "x" * 8_000_000})
    assert caught.value.message == "the body is over 1 MiB"


def test_lines_arrive_one_by_one(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.script["POST /api/pull"] = ndjson({"status": "a"}, {"status": "b"}, ending="hold")
    lines = client.stream("/api/pull", {"model": "x"})
    assert next(lines) == b'{"status": "a"}', "the first must not wait for the last"
    assert next(lines) == b'{"status": "b"}'
    assert not daemon.went_away.is_set()
    lines.close()
    assert daemon.went_away.wait(5), "closing the iterator must cancel the work"


def test_lines_split_and_joined_by_chunks_stay_lines(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.script["POST /api/pull"] = Reply(pieces=[b'{"a":', b'1}\n{"a":2}\n\n{"a"', b":3}"])
    with closing(client.stream("/api/pull", {})) as lines:
        assert list(objects(lines)) == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_a_stream_that_is_cut_is_not_taken_for_a_whole_one(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.script["POST /api/pull"] = ndjson({"status": "a"}, ending="cut")
    lines = client.stream("/api/pull", {})
    assert next(lines) == b'{"status": "a"}'
    with pytest.raises(Failed, match="broke off"):
        next(lines)


def test_silence_in_a_stream_is_bounded(
    daemon: ScriptedDaemon, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    daemon.script["POST /api/pull"] = ndjson({"status": "a"}, ending="hold")
    lines = client.stream("/api/pull", {})
    next(lines)
    with pytest.raises(Failed, match="gave up waiting"):
        next(lines)


def _lines(*lines: bytes) -> Iterator[bytes]:
    return iter(lines)


def test_a_line_with_an_error_raises_its_text() -> None:
    stream = objects(_lines(b'{"status":"a"}', b'{"error":"file does not exist"}', b'{"status":"never"}'))
    assert next(stream) == {"status": "a"}
    with pytest.raises(Failed, match=r"^file does not exist$"):
        next(stream)


@pytest.mark.parametrize("raw", [b"", b"not json", b"[1]", b"{", b"[" * 100_000])
def test_an_answer_that_cannot_be_read_names_the_versions(raw: bytes) -> None:
    with pytest.raises(Failed, match="compare `powerctl --version`"):
        understood(raw, dict[str, Any])


def test_the_client_says_who_it_is(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.script["GET /v1/status"] = Reply(body=b"{}")
    client.fetch("GET", "/v1/status")
    assert daemon.agents == [f"powerctl/{__version__}"]
