"""POST /v1/audio/transcriptions (contract section 11.6): mistakes in Ollama's words, then the missing capability."""

from __future__ import annotations

import httpx
import pytest

from tests.api.rig import Rig

AUDIO = {"file": ("a.wav", b"RIFF....WAVE", "audio/wav")}
PATH = "/v1/audio/transcriptions"


def sent(rig: Rig, data: dict[str, str], files: object) -> httpx.Response:
    request = httpx.Request("POST", "http://localhost", data=data, files=files)  # type: ignore[arg-type]
    return rig.post(PATH, request.read(), content_type=request.headers["content-type"])


@pytest.mark.parametrize(
    ("data", "files", "status", "text"),
    [
        ({}, AUDIO, 400, "model is required"),
        ({"model": "demo"}, {"other": ("a.wav", b"x")}, 400, "file is required: "),
        ({"model": "demo"}, {"file": ("a.wav", b"")}, 400, "audio file is empty"),
        ({"model": "nope"}, AUDIO, 404, "model 'nope' not found"),
        ({"model": "a b"}, AUDIO, 400, "invalid model name"),
        ({"model": "Demo"}, AUDIO, 400, "registry.ollama.ai/library/demo:latest does not support audio"),
        ({"model": "embed", "response_format": "text"}, AUDIO, 400, "/embed:latest does not support audio"),
    ],
)
def test_each_mistake_has_its_text(rig: Rig, data: dict[str, str], files: object, status: int, text: str) -> None:
    answer = sent(rig, data, files)
    assert answer.status_code == status, answer.text
    assert text in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x"])
def test_what_is_no_form_is_400(rig: Rig, kind: str) -> None:
    message = rig.post(PATH, {"model": "demo"}, content_type=kind).json()["error"]["message"]
    assert message.startswith("failed to parse multipart form: ")


def test_h08_a_file_over_the_limit_is_413_and_a_packed_form_415(rig: Rig) -> None:
    assert rig.post(PATH, b"x" * 3000, app=rig.app(inference_body=2000)).status_code == 413
    assert rig.post(PATH, b"x", content_encoding="zstd").status_code == 415
