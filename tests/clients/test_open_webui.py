"""Open WebUI in a real browser: a chat that is streamed, a tool, documents, and what its pages of models do."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.declared import EMBEDDER, MODEL, declared_powerd, environ
from tests.clients.needs import browser
from tests.clients.open_webui import HOME, call, furnish, lines, open_webui
from tests.wire.powerd_process import Powerd

pytestmark = pytest.mark.clients
DRIVE = Path(__file__).parent / "drives/browser/open_webui.py"
FACT = "The harbour master keeps a grey cat named Ottokar."


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with declared_powerd(tmp_path_factory.mktemp("powerd")) as running:
        yield running


@pytest.fixture(scope="module")
def webui(powerd: Powerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with open_webui(powerd.url, tmp_path_factory.mktemp("webui")) as client:
        furnish(client)
        yield client


@pytest.fixture(scope="module")
def page(webui: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a person at the page saw."""
    home = tmp_path_factory.mktemp("browser")
    told = {"OPEN_WEBUI_URL": str(webui.base_url), "CHROMIUM": browser() or "no Chromium"}
    done = subprocess.run(
        [str(HOME / "bin/python"), str(DRIVE)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environ(home) | told,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    got: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return got


@pytest.fixture(autouse=True)
def nothing_is_refused(powerd: Powerd) -> Iterator[None]:
    """powerd answers whatever Open WebUI asks."""
    yield
    assert refusals(powerd) == []


def answered(powerd: Powerd) -> list[dict[str, Any]]:
    """powerd's log of the requests it has answered."""
    entries = [json.loads(line) for line in powerd.log().splitlines() if line.startswith("{")]
    return [entry for entry in entries if entry.get("event") == "answered"]


def refusals(powerd: Powerd) -> list[dict[str, Any]]:
    return [entry for entry in answered(powerd) if entry["status"] >= 400 or entry["failure"]]


def routes(powerd: Powerd) -> list[str]:
    return [entry["route"] for entry in answered(powerd)]


def test_the_page_lists_the_models(page: dict[str, Any]) -> None:
    assert {MODEL, EMBEDDER, "forecast"} <= set(page["listed"])
    assert page["faults"] == []


def test_an_answer_appears_in_the_page_as_it_is_made(page: dict[str, Any], powerd: Powerd) -> None:
    count = page["count"]
    assert count[-1] == ", ".join(map(str, range(1, 101))) + "."
    assert len(count) > 1  # a part of it could be read before the whole
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(count))
    assert "/api/chat" in routes(powerd)


def test_a_tool_is_called_from_the_page_and_its_result_used(page: dict[str, Any]) -> None:
    assert any("get_weather" in text for text in page["weather"])
    assert "sunny in Paris" in page["weather"][-1]


def test_a_document_is_found_by_its_vectors(webui: httpx.Client, powerd: Powerd) -> None:
    before = routes(powerd).count("/api/embed")
    sent = webui.post("/api/v1/files/", files={"file": ("harbour.txt", FACT)}, params={"process_in_background": False})
    assert sent.is_success, sent.text
    knowledge = call(webui, "POST", "/api/v1/knowledge/create", {"name": "harbour", "description": "the harbour"})["id"]
    call(webui, "POST", f"/api/v1/knowledge/{knowledge}/file/add", {"file_id": sent.json()["id"]})
    look_up = {"collection_names": [knowledge], "query": "What is the cat called?", "k": 1}
    found = call(webui, "POST", "/api/v1/retrieval/query/collection", look_up)
    assert found["documents"] == [[FACT]]
    assert routes(powerd).count("/api/embed") >= before + 2  # the document, the question


def test_what_the_pages_of_models_do(webui: httpx.Client, powerd: Powerd) -> None:
    assert lines(webui, "/ollama/api/pull", {"model": MODEL})[-1] == "success"
    assert call(webui, "POST", "/ollama/api/show", {"model": MODEL})["details"]["family"] == "llama"
    call(webui, "POST", "/ollama/api/copy", {"source": MODEL, "destination": "copied"})
    made = {"model": "made", "from": MODEL, "system": "Be brief."}
    assert lines(webui, "/ollama/api/create", made)[-1] == "success"
    for name in ("copied:latest", "made:latest"):
        call(webui, "DELETE", "/ollama/api/delete/0", {"model": name})  # of its first server, as the page asks
    assert {model["model"] for model in powerd.get("/api/tags").json()["models"]} == {MODEL, EMBEDDER}
    call(webui, "POST", "/ollama/api/embed", {"model": EMBEDDER, "input": "a text"})
    assert EMBEDDER in {model["model"] for model in call(webui, "GET", "/ollama/api/ps")["models"]}
    call(webui, "POST", "/ollama/api/unload", {"model": EMBEDDER})
    assert EMBEDDER not in {model["model"] for model in powerd.get("/api/ps").json()["models"]}
    assert call(webui, "GET", "/ollama/api/version")["version"]
    assert "/api/pull" in routes(powerd)
