"""POST /api/create of safetensors: the order of statuses, adapters and drafts, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from powerd.names import Name
from tests.api.ollama.test_create import PROJECTOR, put, refused
from tests.api.rig import Rig
from tests.convert import checkpoints


@pytest.fixture(scope="module")
def files(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The demo's weights as a checkpoint, uploaded."""
    directory = tmp_path_factory.mktemp("demo")
    checkpoints.demo(directory)
    return {path.name: put(rig, path) for path in directory.iterdir()}


@pytest.fixture(scope="module")
def adapter(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The demo's adapter as PEFT keeps it, uploaded."""
    directory = tmp_path_factory.mktemp("lora")
    checkpoints.pirate(directory)
    return {path.name: put(rig, path) for path in directory.iterdir()}


@pytest.fixture(autouse=True)
def clean(rig: Rig) -> Iterator[None]:
    """No test leaves its model."""
    yield
    rig.ask("DELETE", "/api/delete", {"model": "new"})


def blobs(rig: Rig) -> set[str]:
    return {path.name.replace("-", ":", 1) for path in (rig.store.root / "blobs").iterdir()}


def test_a_model_with_adapter_and_draft_of_safetensors(
    rig: Rig, files: dict[str, str], adapter: dict[str, str]
) -> None:
    before = blobs(rig)
    body = {
        "model": "new",
        "files": {**files, "mm.gguf": put(rig, PROJECTOR)},
        "adapters": adapter,
        "draft_files": files,
        "quantize": "Q8_0",
        "draft_quantize": "Q4_0",
    }
    texts = [line["status"].partition(" sha256:")[0] for line in rig.lines("/api/create", body)]
    assert list(dict.fromkeys(text for text in texts if not text.startswith("warning:"))) == [
        "parsing GGUF",
        "converting model",
        "converting adapter",
        "converting draft model",
        "quantizing F16 draft model to Q4_0",
        "verifying conversion",
        "quantizing F16 model to Q8_0",
        "creating new layer",
        "using existing layer",
        "writing manifest",
        "success",
    ]
    stored = rig.store.find(Name.parse("new"))
    assert stored is not None
    assert (stored.header.architecture, stored.header.file_type) == ("llama", "Q8_0")
    kinds = [layer.media_type.rpartition(".")[2] for layer in stored.layers]
    assert kinds[:4] == ["model", "projector", "adapter", "draft"]
    named = {str(layer.digest) for layer in stored.layers}
    assert len(blobs(rig) - before - named) <= 1  # the config: what was converted and then quantized is gone


def test_what_cannot_be_converted_is_refused(rig: Rig, files: dict[str, str]) -> None:
    before = blobs(rig)
    odd = put(rig, json.dumps({"architectures": ["SeeingForCausalLM"]}).encode())
    told = refused(rig, files={**files, "config.json": odd})
    assert "SeeingForCausalLM" in told
    assert "LlamaForCausalLM" in told
    assert "config.json is missing" in refused(
        rig, files={name: digest for name, digest in files.items() if name != "config.json"}
    )
    assert "more than one model's weights" in refused(rig, **{"from": "demo"}, files=files)
    several = {**files, "a.gguf": put(rig, PROJECTOR)}
    assert refused(rig, **{"from": "demo"}, adapters=several) == "only one adapter is currently supported"
    assert blobs(rig) - before <= {odd, several["a.gguf"]}
    assert not list((rig.store.root / ".powerd/ingest").iterdir())
