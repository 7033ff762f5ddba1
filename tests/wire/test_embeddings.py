"""Embeddings by a real daemon and real engines, as the official clients ask for them."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import ollama
import openai
import pytest

from tests.wire.powerd_process import Powerd
from tests.wire.test_changes import within
from tests.wire.test_memory import planned, pss

MODELS = Path(__file__).parent.parent / "models"
DOCUMENTS = (
    "Paris is the capital of France.",
    "The price of the bread is 10 euros.",
    "It is sunny in Madrid.",
    "Grass is green.",
    "Anna is a teacher.",
    "A cow says moo.",
)
QUESTIONS = ("Which city is the capital of France?", "How much does bread cost?", "weather in Madrid")

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    models = f"""
models:
  demo: {{source: 'builtin:demo', context: 1024, parallel: 4}}
  embed: {{source: '{MODELS / "tiny-embed-q8_0.gguf"}'}}
"""
    with Powerd(tmp_path_factory.mktemp("embeddings"), models=models) as powerd:
        powerd.wait("Fits", "demo")
        powerd.wait("Fits", "embed")
        yield powerd


@pytest.fixture(scope="module")
def client(powerd: Powerd) -> Iterator[ollama.Client]:
    with ollama.Client(host=powerd.url) as client:
        yield client


def nearest(asked: Sequence[float], vectors: Sequence[Sequence[float]]) -> int:
    """Which of the vectors, all of length one, is the nearest."""
    scores = [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in vectors]
    return scores.index(max(scores))


def test_the_ollama_client_finds_the_document_that_answers(client: ollama.Client) -> None:
    documents = client.embed("embed", DOCUMENTS).embeddings
    asked = client.embed("embed", QUESTIONS)
    assert [nearest(vector, documents) for vector in asked.embeddings] == [0, 1, 2]
    assert {len(vector) for vector in documents} == {128}
    assert all(math.hypot(*vector) == pytest.approx(1, abs=1e-6) for vector in documents)
    assert asked.prompt_eval_count is not None
    assert asked.prompt_eval_count > 15
    single = client.embeddings("embed", DOCUMENTS[0]).embedding
    length = math.hypot(*single)
    assert length > 1.5
    assert [value / length for value in single] == pytest.approx(list(documents[0]), abs=1e-3)


def test_the_openai_client_reads_both_encodings(powerd: Powerd) -> None:
    with openai.OpenAI(base_url=powerd.url + "/v1", api_key="none") as client:
        coded = client.embeddings.create(model="embed", input=list(DOCUMENTS))  # it asks for base64 by itself
        plain = client.embeddings.create(model="embed", input=list(DOCUMENTS), encoding_format="float")
        short = client.embeddings.create(model="embed", input="Paris", dimensions=32).data[0].embedding
    assert [item.embedding for item in coded.data] == [pytest.approx(item.embedding, abs=1e-6) for item in plain.data]
    assert coded.usage.prompt_tokens == plain.usage.total_tokens > 30
    assert len(short) == 32
    assert math.hypot(*short) == pytest.approx(1, abs=1e-6)


@pytest.mark.alone
def test_a_chat_model_embeds_while_it_chats_in_memory_that_is_promised(powerd: Powerd, client: ollama.Client) -> None:
    client.generate("demo", "Hello", options={"num_predict": 5})
    (row,) = [row for row in powerd.ps() if row["model"] == "demo"]
    before = pss(row["pid"])
    told: list[str] = []

    def chat() -> None:
        stream = client.chat("demo", [{"role": "user", "content": "Tell me a story."}], stream=True)
        told.extend(part.message.content or "" for part in stream)

    talking = threading.Thread(target=chat)
    talking.start()
    vectors = client.embed("demo", [*DOCUMENTS, "word " * 900]).embeddings
    talking.join()
    assert {len(vector) for vector in vectors} == {256}
    assert len("".join(told)) > 10
    after = next(row for row in powerd.ps() if row["model"] == "demo")
    promised = after["size"] - row["size"]
    took = pss(row["pid"]) - before
    assert promised > 0
    assert took <= promised * 1.15, f"promised {promised:,}, took {took:,}"


def test_over_length_is_named_by_index_or_cut_as_asked(powerd: Powerd) -> None:
    inputs = ["short", "word " * 400]
    with httpx.Client(base_url=powerd.url) as client:
        refused = client.post("/api/embed", json={"model": "embed", "input": inputs, "truncate": False})
        assert refused.status_code == 400
        assert refused.json()["error"].startswith(
            "the input length exceeds the context length: input[1] has 402 tokens, and 256 are available"
        )
        cut = client.post("/api/embed", json={"model": "embed", "input": inputs})
    assert cut.headers["x-powerd-truncated"] == "input[1] from 402 to 256 tokens"
    assert len(cut.json()["embeddings"]) == 2


@pytest.mark.alone
def test_a_thousand_inputs_do_not_hold_up_anybody_else(powerd: Powerd, client: ollama.Client) -> None:
    made: list[int] = []
    worker = threading.Thread(
        target=lambda: made.append(
            len(client.embed("embed", [f"{n} {DOCUMENTS[n % 6]}" for n in range(1000)]).embeddings)
        )
    )
    worker.start()
    slowest = 0.0
    with httpx.Client(base_url=powerd.url) as other:
        while worker.is_alive():
            slowest = max(slowest, other.get("/api/version").elapsed.total_seconds())
    worker.join()
    assert made == [1000]
    assert slowest < 0.5


def test_a_runner_that_dies_fails_the_request_and_the_next_is_answered(powerd: Powerd, client: ollama.Client) -> None:
    client.embed("embed", "x")
    (row,) = [row for row in powerd.ps() if row["model"] == "embed"]
    failures: list[Exception] = []

    def work() -> None:
        try:
            client.embed("embed", ["word " * 200] * 2000)
        except ollama.ResponseError as error:
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    within(10, lambda: any(row["model"] == "embed" and row["requests"] for row in powerd.ps()))
    os.kill(row["pid"], signal.SIGKILL)
    worker.join()
    (failure,) = failures
    assert isinstance(failure, ollama.ResponseError)
    assert failure.status_code == 500
    assert "model runner has unexpectedly stopped" in failure.error
    assert client.embed("embed", "x").embeddings


def test_a_client_that_leaves_stops_the_work(powerd: Powerd, client: ollama.Client) -> None:
    body = {"model": "embed", "input": ["word " * 200] * 10_000}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(powerd.url + "/api/embed", json=body, timeout=0.3)
    begun = time.monotonic()
    while any(row["requests"] for row in powerd.ps() if row["model"] == "embed"):
        assert time.monotonic() - begun < 5
        time.sleep(0.02)
    assert client.embed("embed", "x").embeddings


def test_the_metrics_and_the_canary_know_embeddings(powerd: Powerd) -> None:
    text = httpx.get(powerd.url + "/metrics").text
    assert 'power_embeddings_total{model="embed:latest"}' in text
    assert 'power_canaries_total{model="embed",result="answered"}' in text
    for condition in ("Ready", "InSync"):
        assert powerd.condition(condition, "embed")["status"] == "True", powerd.condition(condition, "embed")


@pytest.mark.alone
def test_what_an_embedding_model_takes_when_its_batches_are_full_is_promised(
    powerd: Powerd, client: ollama.Client
) -> None:
    client.embed("embed", ["word " * 250] * 64)
    (row,) = [row for row in powerd.ps() if row["model"] == "embed"]
    promised, how = planned(powerd, "embed")
    real = pss(row["pid"])
    assert how == "measured"
    assert 0.95 * real <= promised <= 1.4 * real, f"promised {promised:,}, real {real:,}"


def test_a_chosen_pooling_is_planned_applied_explained_and_makes_other_vectors(tmp_path: Path) -> None:
    declared = f"models:\n  embed: {{source: '{MODELS / 'tiny-embed-q8_0.gguf'}'}}\n"
    chosen = declared.replace("'}", "', pooling: last}")

    def vector(powerd: Powerd) -> list[float]:
        body = {"model": "embed", "input": DOCUMENTS[0], "pooling": "cls"}  # no field of any request: passed over
        found: list[float] = powerd.post("/v1/embeddings", body).json()["data"][0]["embedding"]
        return found

    def told(powerd: Powerd) -> dict[str, object]:
        values = powerd.control("POST", "/v1/explain", {"model": "embed"})["values"]
        row: dict[str, object] = next(value for value in values if value["field"] == "pooling")
        return row

    with Powerd(tmp_path, models=declared) as powerd:
        powerd.wait("Fits", "embed")
        mean = vector(powerd)
        before = told(powerd)
        assert (before["value"], before["have"], before["origin"]) == ("mean", "mean", "the GGUF's own pooling_type")
        powerd.models.write_text("apiVersion: powerd/v1\n" + chosen)
        (row,) = powerd.control("GET", "/v1/plan")["models"]
        assert (row["change"], [field["name"] for field in row["fields"]]) == ("reload", ["pooling"])
        powerd.declare(chosen)
        within(20, lambda: sum(a * b for a, b in zip(vector(powerd), mean, strict=True)) < 0.99)
        powerd.wait("InSync", "embed")
        after = told(powerd)
        assert (after["value"], after["have"]) == ("last", "last")
        assert "models.yaml" in str(after["origin"])
