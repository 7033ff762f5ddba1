"""Requests and weights that ask for what cannot be: refused with numbers or names, and nobody else is disturbed."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gguf_maker import tiny
from tests.wire.powerd_process import Powerd

PICTURES = {"one": ["AAAA"], "text": ["aGVsbG8="], "ten thousand": ["iVBORw0KGgo="] * 10_000}


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    directory = tmp_path_factory.mktemp("powerd")
    tiny(directory / "wide.gguf", context=1 << 30)
    whole = tiny(directory / "whole.gguf").read_bytes()
    (directory / "missing.gguf").write_bytes(whole.replace(b"blk.1.attn_q.weight", b"blk.1.attn_Q.weight"))
    width = b"llama.embedding_length" + struct.pack("<I", 4)
    (directory / "narrow.gguf").write_bytes(whole.replace(width + struct.pack("<I", 64), width + struct.pack("<I", 32)))
    names = ("wide", "missing", "narrow")
    models = "models:\n  demo: {source: 'builtin:demo'}\n" + "".join(f"  {x}: {{source: ./{x}.gguf}}\n" for x in names)
    with Powerd(directory, models=models) as running:
        running.wait("Fits", "demo")
        running.wait("Reconciled")
        yield running
        assert "Traceback" not in running.log()


def loads(powerd: Powerd) -> int:
    return sum(event["kind"] == "load" for event in powerd.status()["events"])


@pytest.mark.parametrize("context", [1 << 30, (1 << 31) - 1])
def test_h13_a_context_no_machine_has_is_refused_with_numbers_and_starts_nothing(powerd: Powerd, context: int) -> None:
    before = loads(powerd)
    body = {"model": "wide", "prompt": "x", "raw": True, "stream": False, "options": {"num_ctx": context}}
    answer = powerd.post("/api/generate", body)
    assert answer.status_code == 503
    assert "does not fit: with 1073741824 tokens of context" in answer.json()["error"]
    assert "TiB" in answer.json()["error"]
    assert loads(powerd) == before


def test_h13_a_context_beyond_32_bits_is_400(powerd: Powerd) -> None:
    answer = powerd.post("/api/generate", {"model": "wide", "prompt": "x", "options": {"num_ctx": 1 << 31}})
    assert answer.status_code == 400
    assert 'option "num_ctx" must be between' in answer.json()["error"]


@pytest.mark.parametrize("which", PICTURES)
def test_h18_s47_s48_pictures_are_refused_before_anybody_looks_into_them(powerd: Powerd, which: str) -> None:
    pictures = PICTURES[which]
    chat = {"model": "demo", "messages": [{"role": "user", "content": "hi", "images": pictures}]}
    for path, body in (("/api/chat", chat), ("/api/generate", {"model": "demo", "prompt": "hi", "images": pictures})):
        started = time.monotonic()
        answer = powerd.post(path, body)
        assert (answer.status_code, answer.json()["error"]) == (
            400,
            "registry.ollama.ai/library/demo:latest does not support vision",
        )
        assert time.monotonic() - started < 0.5


@pytest.mark.parametrize("url", ["file:///etc/passwd", "/etc/passwd", "http://localhost/x.png", "data:,"])
def test_s30_no_file_is_read_and_no_address_asked_for_a_picture(powerd: Powerd, url: str) -> None:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}}]
    answer = powerd.post("/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": parts}]})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("model", "said"),
    [("missing", "tensor 'blk.1.attn_q.weight' not found"), ("narrow", "tensor 'token_embd.weight' has wrong shape")],
)
def test_g15_weights_that_contradict_themselves_are_refused_and_tried_only_on_request(
    powerd: Powerd, model: str, said: str
) -> None:
    for request in (1, 2):
        answer = powerd.post("/api/generate", {"model": model, "prompt": "x", "stream": False})
        assert answer.status_code == 500
        assert answer.json()["error"].startswith("model failed to load: ")
        assert said in answer.json()["error"]
        tried = [event for event in powerd.status()["events"] if (event["kind"], event["model"]) == ("load", model)]
        assert len(tried) == request
    assert powerd.post("/api/generate", {"model": "demo", "prompt": "x", "stream": False}).is_success
