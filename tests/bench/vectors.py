"""Embeddings over HTTP: what a thousand short inputs take, and what they do to everybody else.

`python -m tests.bench.vectors` runs it with the test model: the figures are more of powerd's making than the engine's.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from tests.bench.figures import quantile
from tests.wire.powerd_process import Powerd

INPUTS = 1000
_WEIGHTS = Path(__file__).parent.parent / "models" / "tiny-embed-q8_0.gguf"


def measured() -> dict[str, float]:
    """Inputs a second in one request and in requests of one, and the delay of other requests meanwhile."""
    declared = f"models:\n  embed: {{source: {_WEIGHTS}, keep_alive: 1h}}\n"
    with tempfile.TemporaryDirectory() as directory, Powerd(Path(directory), models=declared) as powerd:
        powerd.wait("Fits", "embed", 60)
        with httpx.Client(base_url=powerd.url, timeout=120) as client:
            _embed(client, ["warm up"])
            begun = time.perf_counter()
            for number in range(100):
                _embed(client, [_text(number)])
            single = 100 / (time.perf_counter() - begun)
            delays, together = _beside(powerd.url, client)
    return {
        "inputs_per_s": round(together),
        "one_by_one_per_s": round(single),
        "others_ms_p50": round(quantile(delays, 0.5), 1),
        "others_ms_p99": round(quantile(delays, 0.99), 1),
    }


def _beside(url: str, client: httpx.Client) -> tuple[list[float], float]:
    """How long other requests take, in ms, while many inputs are made vectors of, and how many of these a second."""
    texts = [_text(number) for number in range(INPUTS)]
    rates: list[float] = []

    def work() -> None:
        begun = time.perf_counter()
        _embed(client, texts)
        rates.append(INPUTS / (time.perf_counter() - begun))

    worker = threading.Thread(target=work)
    worker.start()
    delays = []
    with httpx.Client(base_url=url) as other:
        while worker.is_alive():
            delays.append(1000 * other.get("/api/version").elapsed.total_seconds())
            time.sleep(0.002)
    worker.join()
    return delays, rates[0]


def _text(number: int) -> str:
    return f"{number} cats sit on the mat and one of them sleeps."


def _embed(client: httpx.Client, texts: list[str]) -> None:
    client.post("/api/embed", json={"model": "embed", "input": texts}).raise_for_status()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured()))
