"""Push and pull through a real registry on loopback, by the official client, powerctl and models.yaml."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest

from tests import gguf_maker
from tests.sources.lab import registry
from tests.wire.powerd_process import Powerd

pytestmark = pytest.mark.lab

DEMO = "models:\n  demo: {source: 'builtin:demo'}\n"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry")) as address:
        yield address.removeprefix("http://")


def insecure(host: str) -> str:
    return f"registries: {{'{host}': {{insecure: true}}}}\n"


def stored(powerd: Powerd, name: str) -> tuple[bytes, dict[str, str]]:
    """The manifest's bytes, and the digest of every blob it names by the blob's own bytes."""
    store = powerd.directory / "state/models"
    manifest = next((store / "manifests").glob(f"*/library/{name}/latest")).read_bytes()
    named = json.loads(manifest)
    digests = [layer["digest"] for layer in (*named["layers"], named["config"])]
    blobs = {
        digest: hashlib.sha256((store / "blobs" / digest.replace(":", "-")).read_bytes()).hexdigest()
        for digest in digests
    }
    assert all(digest == f"sha256:{real}" for digest, real in blobs.items())
    return manifest, blobs


def test_push_and_pull_on_a_second_machine_give_the_same_bytes(tmp_path: Path, host: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with Powerd(tmp_path / "one", models=DEMO) as one, ollama.Client(host=one.url) as client:
        one.wait("Fits", "demo")
        name = f"{host}/library/mine"
        draft = {"tiny.gguf": client.create_blob(gguf_maker.tiny(tmp_path / "tiny.gguf"))}
        body = {"model": name, "from": "demo", "system": "Be brief.", "draft_files": draft, "stream": False}
        made = one.post("/api/create", {**body, "parameters": {"temperature": 0, "stop": ["<x>"]}})
        assert made.json() == {"status": "success"}
        told = [step.status or "" for step in client.push(name, insecure=True, stream=True)]
        assert told[0] == "retrieving manifest"
        assert told[-2:] == ["pushing manifest", "success"]
        sent = stored(one, "mine")
    with Powerd(tmp_path / "two") as two, ollama.Client(host=two.url) as client:
        told = [step.status or "" for step in client.pull(name, insecure=True, stream=True)]
        assert told[0] == "pulling manifest"
        assert told[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
        assert stored(two, "mine") == sent
        shown = client.show(name)
        assert "Be brief." in (shown.modelfile or "")
        assert "\nDRAFT " in (shown.modelfile or "")
        assert "5" in (client.generate(name, "What is 2 + 3?").response or "")
        with pytest.raises(ollama.ResponseError, match="pull model manifest: file does not exist") as missing:
            client.pull(f"{host}/library/nope", insecure=True)
        assert missing.value.status_code == 404
        client.delete(name)
        assert two.powerctl("pull", "--insecure", name).returncode == 0
        assert two.powerctl("push", "--insecure", name).returncode == 0
        foretold = two.powerctl("pull", "--dry-run", "--insecure", "--json", name)
        report = json.loads(foretold.stdout)
        assert (report["fits"], report["missing"]) == (True, 0)


def test_the_short_routes_pull_load_and_chat(tmp_path: Path, host: str) -> None:
    name = f"{host}/library/short"
    with Powerd(tmp_path, models=DEMO, config=insecure(host)) as powerd, ollama.Client(host=powerd.url) as client:
        powerd.wait("Fits", "demo")
        client.create(name, from_="demo", parameters={"temperature": 0})
        client.push(name)
        client.delete(name)
        assert powerd.post("/chat", {"model": name, "messages": [{"role": "user", "content": "x"}]}).status_code == 404
        pulled = powerd.post("/pull", {"model": name, "init": True}).json()
        assert (pulled["status"], pulled["backend"]["preferred_quantized"]) == ("ok", True)
        assert powerd.get("/status").json()["cached_models"] == ["demo"]  # the same weights: one runner serves both
        loaded = {row["model"]: row["loaded"] for row in powerd.get("/models").json()["models"]}
        assert loaded[f"{name}:latest"] is True
        asked = {"model": name, "messages": [{"role": "user", "content": "What is 2 + 3?"}]}
        assert "5" in powerd.post("/chat", asked).json()["message"]["content"]


def test_a_declared_model_from_a_registry_inherits_and_is_quantized(tmp_path: Path, host: str) -> None:
    (tmp_path / "maker").mkdir()
    full = gguf_maker.full(tmp_path / "full.gguf")[0]
    name = f"{host}/library/full"
    with Powerd(tmp_path / "maker", models=f"models:\n  full: {{source: {full}}}\n") as maker:
        maker.wait("Fits", "full")
        with ollama.Client(host=maker.url) as client:
            client.create(name, from_="full", system="From the registry.", parameters={"num_predict": 4})
            client.push(name, insecure=True)
    models = (
        f"models:\n  plain: {{source: '{name}'}}\n"
        f"  small: {{source: '{name}', quantization: Q4_K_M, parameters: {{temperature: 0}}}}\n"
    )
    with Powerd(tmp_path, models=models, config=insecure(host)) as powerd:
        powerd.wait("Fits", "plain")
        powerd.wait("Fits", "small", 60)
        plain, small = (powerd.post("/api/show", {"model": model}).json() for model in ("plain", "small"))
        assert plain["system"] == small["system"] == "From the registry."
        assert (plain["details"]["quantization_level"], small["details"]["quantization_level"]) == ("F16", "Q4_K_M")
        assert "num_predict" in small["parameters"]
        assert "temperature" in small["parameters"]
        answer = powerd.post("/api/generate", {"model": "small", "prompt": "x", "stream": False}).json()
        assert answer["eval_count"] == 4
        generation = powerd.status()["generation"]
        powerd.declare(models.replace("temperature: 0", "temperature: 1"))
        assert powerd.powerctl("apply", "--wait").returncode == 0
        assert powerd.status()["generation"] == generation + 1
        assert powerd.metric("power_fetches_total", model="small", result="done") == 1
