"""LoRA adapters from models.yaml, Modelfiles and create, on the real engine: personas that share one runner."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.wire.powerd_process import Powerd

LORA = Path(__file__).parent.parent / "models" / "tiny-chat-pirate-lora-f16.gguf"
DIGEST = hashlib.sha256(LORA.read_bytes()).hexdigest()
ASKED = [{"role": "user", "content": "What is the capital of France?"}]
SIZE = "source: 'builtin:demo', context: 512, parallel: 4"
DECLARED = f"""models:
  plain: {{{SIZE}}}
  pirate: {{{SIZE}, adapters: [{{source: ./pirate.gguf}}]}}
  half: {{{SIZE}, adapters: [{{source: ./pirate.gguf, scale: 0.5}}]}}
  sober: {{{SIZE}, adapters: [{{source: ./pirate.gguf, scale: 0}}]}}
  file: {{source: ./Modelfile, context: 512, parallel: 4}}
"""


def said(powerd: Powerd, model: str) -> str:
    body = {"model": model, "messages": ASKED, "stream": False, "options": {"temperature": 0}}
    answer = httpx.post(f"{powerd.url}/api/chat", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["message"]["content"])


def runner(powerd: Powerd) -> int:
    (pid,) = {row["pid"] for row in powerd.ps() if "half" in row["names"]}
    return int(pid)


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    directory = tmp_path_factory.mktemp("adapters")
    shutil.copy(LORA, directory / "pirate.gguf")
    shutil.copy(Path(__file__).parents[2] / "powerd" / "demo" / "tiny-chat-q8_0.gguf", directory / "base.gguf")
    (directory / "Modelfile").write_text("FROM ./base.gguf\nADAPTER pirate.gguf\n")
    with Powerd(directory, models=DECLARED, config="offline: true\n") as running:
        for name in ("plain", "pirate", "half", "sober", "file"):
            running.wait("Fits", name)
        yield running


def test_personas_share_one_runner_and_each_answers_in_its_own_way_at_once(powerd: Powerd) -> None:
    alone = {name: said(powerd, name) for name in ("plain", "pirate", "half", "sober", "file")}
    assert "arr" in alone["pirate"].lower(), alone
    assert alone["sober"] == alone["plain"] != alone["pirate"] == alone["file"]
    names = list(alone) * 2
    with ThreadPoolExecutor(len(names)) as threads:
        assert list(threads.map(lambda name: said(powerd, name), names)) == [alone[name] for name in names]
    (row,) = powerd.ps()
    assert set(row["names"]) >= set(alone)


def test_personas_make_vectors_of_their_own_on_one_runner_at_once(powerd: Powerd) -> None:
    def vector(name: str) -> tuple[float, ...]:
        answer = httpx.post(f"{powerd.url}/api/embed", json={"model": name, "input": "Good morning"}, timeout=60)
        assert answer.status_code == 200, answer.text
        return tuple(answer.json()["embeddings"][0])

    alone = {name: vector(name) for name in ("plain", "pirate", "half", "sober", "file")}
    assert len({alone[name] for name in ("plain", "pirate", "half")}) == 3
    names = list(alone) * 4
    with ThreadPoolExecutor(len(names)) as threads:
        for name, found in zip(names, threads.map(vector, names), strict=True):
            assert found == pytest.approx(alone[name], abs=1e-5), name
    assert alone["sober"] == pytest.approx(alone["plain"], abs=1e-5)
    assert alone["file"] == pytest.approx(alone["pirate"], abs=1e-5)
    (row,) = powerd.ps()
    assert set(row["names"]) >= set(alone)


def test_the_adapters_are_explained_and_held_against_the_read_back(powerd: Powerd) -> None:
    said(powerd, "half")
    powerd.wait("InSync", "half")
    values: list[dict[str, Any]] = powerd.control("POST", "/v1/explain", {"model": "half"})["values"]
    told = {value["field"]: value for value in values}
    assert told["adapters"]["value"] == told["adapters"]["have"] == [DIGEST[:12]]
    assert told["adapters.scale"]["value"] == {DIGEST[:12]: 0.5}
    assert "models.yaml" in told["adapters.scale"]["origin"]


def test_a_created_model_applies_its_adapter(powerd: Powerd) -> None:
    httpx.post(f"{powerd.url}/api/blobs/sha256:{DIGEST}", content=LORA.read_bytes())
    body = {"model": "made", "from": "plain", "adapters": {"l.gguf": f"sha256:{DIGEST}"}, "stream": False}
    answer = httpx.post(f"{powerd.url}/api/create", json=body, timeout=60)
    assert answer.json() == {"status": "success"}, answer.text
    assert said(powerd, "made") == said(powerd, "pirate")
    shown = httpx.post(f"{powerd.url}/api/show", json={"model": "made"}).json()["modelfile"]
    assert f"\nADAPTER {powerd.directory}/state/models/blobs/sha256-{DIGEST}" in shown


def test_a_scale_changes_live_and_the_plan_says_what_another_file_costs(powerd: Powerd) -> None:
    assert not powerd.control("GET", "/v1/plan")["changes"]
    said(powerd, "half")
    before = runner(powerd)
    powerd.declare(DECLARED.replace("scale: 0.5", "scale: 1.0"))
    deadline = time.monotonic() + 10
    while said(powerd, "half") != said(powerd, "pirate"):
        assert time.monotonic() < deadline, "the new scale is not taken up"
    assert runner(powerd) == before
    assert not powerd.control("GET", "/v1/plan")["changes"]
    powerd.models.write_text("apiVersion: powerd/v1\n" + DECLARED)
    (half,) = (row for row in powerd.control("GET", "/v1/plan")["models"] if row["fields"])
    assert (half["name"], half["change"], half["steps"]) == ("half", "live", ["offer"])
    shutil.copy(LORA, powerd.directory / "other.gguf")
    with (powerd.directory / "other.gguf").open("ab") as file:
        file.write(bytes(32))
    new = DECLARED.replace("sober: {", "sober: {priority: 1, ").replace(
        "pirate.gguf, scale: 0}", "other.gguf, scale: 0}"
    )
    powerd.models.write_text("apiVersion: powerd/v1\n" + new)
    told = {row["name"]: row for row in powerd.control("GET", "/v1/plan")["models"]}
    assert "adapters" in str(told["sober"]["fields"])


def test_an_adapter_that_does_not_fit_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    shutil.copy(LORA.with_name("tiny-embed-q8_0.gguf"), tmp_path / "embed.gguf")
    shutil.copy(LORA, tmp_path / "pirate.gguf")
    declared = f"""models:
  wrong: {{{SIZE}, adapters: [{{source: ./embed.gguf}}]}}
  other: {{source: ./embed.gguf, adapters: [{{source: ./pirate.gguf}}]}}
  gone: {{{SIZE}, adapters: [{{source: ./gone.gguf}}]}}
  named: {{{SIZE}, adapters: [{{source: some/name}}]}}
"""
    with Powerd(tmp_path, models=declared, config="offline: true\n") as powerd:
        for name, why in (
            ("wrong", "is no LoRA adapter, but a model"),
            ("other", "is an adapter for llama, not for bert models"),
            ("gone", "gone.gguf: there is no such file"),
            ("named", "some/name is remote and powerd.yaml says `offline: true`"),
        ):
            refused = httpx.post(f"{powerd.url}/api/chat", json={"model": name, "messages": ASKED}, timeout=30)
            for _ in range(100):
                if refused.status_code == 503 and why in refused.text:
                    break
                refused = httpx.post(f"{powerd.url}/api/chat", json={"model": name, "messages": ASKED}, timeout=30)
            assert why in refused.text, (name, refused.text)
