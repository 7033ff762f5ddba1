"""An existing Ollama store is served as it lies, and contexts grow once for who asks for more."""

from __future__ import annotations

import hashlib
from pathlib import Path

from powerd.names import Name
from powerd.store.gguf import read_header
from powerd.store.manifest import MODEL_TYPE, PARAMS_TYPE, SYSTEM_TYPE, Layer, describe
from powerd.store.store import Store
from tests.gguf_maker import tiny
from tests.wire.powerd_process import Powerd


def ollama_store(root: Path, weights: Path) -> None:
    """A store as Ollama would have left it: `mine` with a system text and parameters."""
    store = Store(root)
    store.open()
    taken = store.take(weights)
    layers = [Layer(MODEL_TYPE, taken, weights.stat().st_size)]
    for media_type, data in ((SYSTEM_TYPE, b"Be brief."), (PARAMS_TYPE, b'{"num_predict": 3, "stop": ["<x>"]}')):
        digest, size = store.put(data)
        layers.append(Layer(media_type, digest, size))
    store.publish(Name.parse("mine"), layers, describe(read_header(weights)))
    store.close()


def content(root: Path) -> dict[str, tuple[str, float]]:
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime)
        for path in root.rglob("*")
        if path.is_file()
    }


def test_an_ollama_store_is_served_without_a_byte_of_it_changing(tmp_path: Path) -> None:
    root = tmp_path / ".ollama/models"
    ollama_store(root, tiny(tmp_path / "r.gguf"))
    before = content(root)
    with Powerd(tmp_path) as powerd:
        assert [model["name"] for model in powerd.get("/api/tags").json()["models"]] == ["mine:latest"]
        shown = powerd.post("/api/show", {"model": "mine"}).json()
        assert (shown["system"], "num_predict" in shown["parameters"]) == ("Be brief.", True)
        answer = powerd.post("/api/generate", {"model": "mine", "prompt": "x", "stream": False}).json()
        assert answer["eval_count"] == 3
        refused = powerd.client_delete("mine")
        assert refused.status_code == 403
        assert str(root) in refused.json()["error"]
        assert powerd.powerctl("cp", "mine", "ours").returncode == 0
        assert powerd.powerctl("rm", "ours").returncode == 0
        assert powerd.post("/api/generate", {"model": "mine", "prompt": "x", "stream": False}).json()["eval_count"] == 3
    assert content(root) == before


def test_two_clients_alternating_num_ctx_cause_one_growth_and_no_thrash(tmp_path: Path) -> None:
    tiny(tmp_path / "r.gguf", context=16_384)
    models = f"models:\n  auto: {{source: {tmp_path}/r.gguf}}\n  fixed: {{source: {tmp_path}/r.gguf, context: 2048}}\n"
    with Powerd(tmp_path, models=models) as powerd:
        powerd.wait("Fits", "auto")
        powerd.wait("Fits", "fixed")

        def ask(model: str, num_ctx: int) -> str:
            options = {"num_ctx": num_ctx, "num_predict": 2}
            answer = powerd.post("/api/generate", {"model": model, "prompt": "x", "stream": False, "options": options})
            assert answer.json()["eval_count"] == 2
            return str(answer.headers.get("x-powerd-context", ""))

        for _ in range(3):
            assert ask("auto", 8192) == ""
            assert ask("auto", 1024) == ""
        contexts = {row["model"]: row["context"] for row in powerd.ps()}
        assert contexts == {"auto": 8192}
        assert powerd.metric("power_loads_total", model="auto", result="ready") == 1
        assert ask("fixed", 8192) == "2048 (declared; 8192 was asked)"
        assert {row["model"]: row["context"] for row in powerd.ps()}["fixed"] == 2048
