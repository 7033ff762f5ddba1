"""Compressed bodies: what zstd makes is read, what it could be abused for is refused at its bound."""

from __future__ import annotations

import json
import sys
import tracemalloc

import pytest

from powerd.api.unpacking import MAX_UNPACKED, unpacked
from powerd.errors import BadRequest
from tests.api.rig import Rig

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}).encode()


@pytest.mark.parametrize("text", [b"", b"x", TEXT, TEXT * 50_000])
def test_what_was_compressed_comes_back(text: bytes) -> None:
    assert unpacked(zstd.compress(text), MAX_UNPACKED) == text


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        TEXT,
        b"\x28\xb5\x2f\xfd",
        zstd.compress(TEXT)[:-1],
        zstd.compress(TEXT) + b"more",
        zstd.compress(TEXT) * 2,
        b"\x1f\x8b\x08",
    ],
)
def test_what_is_not_one_whole_frame_is_refused_in_ollamas_words(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^failed to decompress request body$"):
        unpacked(body, MAX_UNPACKED)


def test_a_window_beyond_https_is_refused() -> None:
    wide: dict[int, int] = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    packing = zstd.ZstdCompressor(options=wide)
    with pytest.raises(BadRequest, match="failed to decompress"):
        unpacked(packing.compress(b"x" * 1000) + packing.flush(), MAX_UNPACKED)


def test_s53_a_bomb_costs_its_cap_and_no_more() -> None:
    bomb = zstd.compress(bytes(64 << 20), level=1)
    assert len(bomb) < 64 << 10
    tracemalloc.start()
    try:
        assert unpacked(bomb, 4 << 20) is None
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_s53_compressed_requests_are_answered_under_v1_only(rig: Rig) -> None:
    body = zstd.compress(TEXT)
    for encoding in ("zstd", "ZSTD"):
        answer = rig.post("/v1/chat/completions", body, content_encoding=encoding)
        assert answer.json()["choices"][0]["message"]["content"] == "0 1 "
    assert rig.post("/api/chat", body, content_encoding="zstd").status_code == 415


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
def test_s53_what_cannot_be_unpacked_is_400_and_a_bomb_413(rig: Rig, path: str) -> None:
    answer = rig.post(path, b"nonsense", content_encoding="zstd")
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "failed to decompress request body")
    answer = rig.post(path, zstd.compress(b" " * (MAX_UNPACKED + 1)), content_encoding="zstd")
    assert (answer.status_code, "20971520 bytes" in answer.json()["error"]["message"]) == (413, True)
    assert rig.post(path, zstd.compress(b""), content_encoding="zstd").json()["error"]["message"] == "EOF"
