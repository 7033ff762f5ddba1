"""One request's bytes: bodies with limits and deadlines, clients that go away, clients that stop reading."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from tests.api.rig import Client, Rig

RAW = {"model": "demo", "raw": True}


def order(words: str, **more: Any) -> bytes:
    return json.dumps({**RAW, "prompt": f"?{words}", **more}).encode()


def busy(rig: Rig) -> int:
    async def count() -> int:
        return sum(view.requests + view.queued for view in rig.fleet.views())

    return rig.run(count())


async def begun(client: Client) -> asyncio.Task[None]:
    """The exchange, once the first text has come."""
    task = asyncio.create_task(client.talk())
    while b'"response"' not in client.body:
        await asyncio.sleep(0.005)
    return task


# ---------------------------------------------------------------- H08 to H10, H20, H25


def test_h08_a_length_over_the_limit_is_refused_before_a_byte_is_read(rig: Rig) -> None:
    client = Client(rig.tcp, "/api/show", [None], [(b"content-length", str((1 << 20) + 1).encode())])
    rig.run(client.talk(), 5)
    assert client.status == 413
    assert client.pieces == [None]


@pytest.mark.parametrize("length", [b"1000000000000000", b"9" * 100])
def test_h09_a_length_without_end_is_refused(rig: Rig, length: bytes) -> None:
    client = Client(rig.tcp, "/api/chat", [None], [(b"content-length", length)])
    rig.run(client.talk(), 5)
    assert client.status == 413


def test_h08_a_body_without_length_is_refused_as_soon_as_it_passes(rig: Rig) -> None:
    client = Client(rig.tcp, "/api/show", [b"x" * (1 << 18)] * 8 + [None])
    rig.run(client.talk(), 5)
    assert client.status == 413
    assert len(client.pieces) == 4


def test_h08_inference_takes_more_than_the_other_routes(rig: Rig) -> None:
    body = json.dumps({"model": "nope", "prompt": "x" * (2 << 20)}).encode()
    assert rig.post("/api/show", body).status_code == 413
    assert rig.post("/api/generate", body).status_code == 404


def test_h10_h20_a_body_that_does_not_arrive_is_408_at_the_deadline(rig: Rig) -> None:
    client = Client(rig.app(body_seconds=0.1), "/api/chat", [b'{"model":', None])
    started = time.monotonic()
    rig.run(client.talk(), 5)
    assert client.status == 408
    assert time.monotonic() - started < 3
    assert json.loads(client.body)["error"] == "the body did not arrive within 0.1 s"


def test_h10_a_client_that_leaves_while_sending_is_not_answered(rig: Rig) -> None:
    async def main() -> Client:
        client = Client(rig.tcp, "/api/chat", [b'{"model":', None])
        client.gone.set()
        await client.talk()
        return client

    assert rig.run(main(), 5).sent == []


def test_a_body_in_pieces_is_one_body(rig: Rig) -> None:
    body = b'{"model":"demo","verbose":false}'
    client = Client(rig.tcp, "/api/show", [body[:5], b"", body[5:6], body[6:]])
    rig.run(client.talk(), 5)
    assert client.status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=x",
        "text/plain;charset=latin-1",
        "MULTIPART/mixed",
    ],
)
def test_h25_other_encodings_are_415(rig: Rig, content_type: str) -> None:
    assert rig.post("/api/show", {"model": "demo"}, content_type=content_type).status_code == 415


@pytest.mark.parametrize(
    "content_type", ["", "application/json; charset=UTF-8", 'text/plain; charset="utf-8"', "nonsense"]
)
def test_h25_every_other_content_type_is_json(rig: Rig, content_type: str) -> None:
    assert rig.post("/api/show", {"model": "demo"}, content_type=content_type).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd, gzip", "GZIP"])
def test_s53_compressed_bodies_are_415(rig: Rig, encoding: str) -> None:
    assert rig.post("/v1/chat/completions", b"\x1f\x8b", content_encoding=encoding).status_code == 415
    assert rig.post("/api/show", {"model": "demo"}, content_encoding="identity").status_code == 200


def test_an_empty_body_is_told_in_each_dialects_words(rig: Rig) -> None:
    for path in ("/api/generate", "/api/chat", "/api/show", "/api/pull", "/api/copy"):
        assert rig.post(path, b"").json() == {"error": "missing request body"}
    assert rig.post("/v1/chat/completions", b"").json()["error"]["message"] == "EOF"


# ---------------------------------------------------------------- X07: clients that go away


def test_x07_a_client_that_leaves_in_mid_stream_frees_its_place_within_a_second(rig: Rig) -> None:
    async def main() -> float:
        client = Client(rig.tcp, "/api/generate", [order("tokens=100000,rate=100")])
        task = await begun(client)
        assert rig.fleet.views()[0].requests == 1
        client.gone.set()
        left = time.monotonic()
        await task
        while any(view.requests for view in rig.fleet.views()):
            await asyncio.sleep(0.005)
        assert b'"done":true' not in client.body
        assert b"error" not in client.body
        return time.monotonic() - left

    assert rig.run(main(), 20) < 1


def test_x07_a_client_that_leaves_before_its_whole_answer_frees_its_place(rig: Rig) -> None:
    async def main() -> Client:
        client = Client(rig.tcp, "/api/generate", [order("tokens=100000,rate=100", stream=False)])
        task = asyncio.create_task(client.talk())
        while not any(view.requests for view in rig.fleet.views()):
            await asyncio.sleep(0.005)
        client.gone.set()
        await task
        while any(view.requests for view in rig.fleet.views()):
            await asyncio.sleep(0.005)
        return client

    assert rig.run(main(), 20).sent == []


def test_x07_a_client_that_leaves_while_waiting_leaves_the_queue(rig: Rig) -> None:
    async def main() -> None:
        parallel = rig.library.find("demo").deployment.parallel
        running = [Client(rig.tcp, "/api/generate", [order("tokens=100000,rate=20")]) for _ in range(parallel)]
        tasks = [asyncio.create_task(client.talk()) for client in running]
        while sum(view.requests for view in rig.fleet.views()) < parallel:
            await asyncio.sleep(0.005)
        waiting = Client(rig.tcp, "/api/generate", [order("tokens=1")])
        tasks.append(asyncio.create_task(waiting.talk()))
        while not any(view.queued for view in rig.fleet.views()):
            await asyncio.sleep(0.005)
        waiting.gone.set()
        await tasks[-1]
        assert waiting.sent == []
        assert not any(view.queued for view in rig.fleet.views())
        for client in running:
            client.gone.set()
        await asyncio.gather(*tasks)

    rig.run(main(), 20)


def test_h28_over_the_queues_limit_is_503_and_the_rest_are_answered(rig: Rig) -> None:
    async def main() -> tuple[list[Client], int]:
        parallel = rig.library.find("demo").deployment.parallel
        await Client(rig.tcp, "/api/generate", [order("tokens=1")]).talk()  # loaded: only the queue is in question
        clients = [Client(rig.tcp, "/api/generate", [order("tokens=3,rate=10")]) for _ in range(parallel + 4 + 6)]
        await asyncio.gather(*(client.talk() for client in clients))
        return clients, parallel

    clients, parallel = rig.run(main(), 20)
    refused = [client for client in clients if client.status == 503]
    assert len(refused) == 6
    assert sum(b'"done":true' in client.body for client in clients) == parallel + 4
    text = "server busy, please try again.  maximum pending requests exceeded"
    assert json.loads(refused[0].body)["error"].startswith(text)
    head = dict(refused[0].sent[0]["headers"])
    assert int(head[b"retry-after"]) >= 1


def test_a_client_that_stops_reading_is_given_up(rig: Rig) -> None:
    async def main() -> float:
        client = Client(rig.app(write_seconds=0.2), "/api/generate", [order("tokens=100000,rate=100")], deaf=True)
        started = time.monotonic()
        await client.talk()
        while any(view.requests for view in rig.fleet.views()):
            await asyncio.sleep(0.005)
        return time.monotonic() - started

    assert 0.2 <= rig.run(main(), 20) < 3


def test_the_head_goes_out_with_the_first_text_and_each_wake_up_is_one_chunk(rig: Rig) -> None:
    async def main() -> Client:
        client = Client(rig.tcp, "/api/generate", [order("tokens=4,rate=50")])
        await client.talk()
        return client

    client = rig.run(main(), 20)
    kinds = [message["type"] for message in client.sent]
    assert kinds[:2] == ["http.response.start", "http.response.body"]
    assert kinds.count("http.response.start") == 1
    chunks = [message for message in client.sent[1:] if message["body"]]
    assert all(message["body"].endswith(b"\n") for message in chunks)
    assert len(chunks) >= 4
    assert [message["more_body"] for message in client.sent[1:]] == [True] * (len(client.sent) - 2) + [False]


def test_nothing_is_left_behind(rig: Rig) -> None:
    async def main() -> set[str]:
        await asyncio.sleep(0.05)
        return {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]

    assert busy(rig) == 0
    assert not {name for name in rig.run(main()) if "listen" in name or "talk" in name}
