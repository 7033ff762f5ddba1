"""The store's figures: a pull of 1 GiB beside `curl | tee | sha256sum`, and the start on a full store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import httpx
import psutil

from powerd.digest import Digest
from powerd.names import Name
from powerd.sources.registry import pull as registry
from powerd.sources.transport.outbound import Outbound
from powerd.store.gguf import read_header
from powerd.store.manifest import CONFIG_TYPE, MODEL_TYPE, SYSTEM_TYPE, Layer, build_manifest, describe
from powerd.store.store import Store
from tests.bench.figures import quantile
from tests.gguf_maker import bulky, tiny
from tests.sources.lab import free_port, nginx
from tests.wire.powerd_process import Powerd

SIZE = 1 << 30
PAIRS = 3
MODELS, BLOBS = 200, 1000


def publish(web: Path, weights: Path) -> Digest:
    """Lay a model out as a static registry; the weights' digest."""
    digest = Digest(hashlib.file_digest(weights.open("rb"), "sha256").hexdigest())
    config = json.dumps(describe(read_header(weights))).encode()
    blobs, manifests = web / "v2/library/big/blobs", web / "v2/library/big/manifests"
    blobs.mkdir(parents=True)
    manifests.mkdir(parents=True)
    weights.rename(blobs / str(digest))
    (blobs / str(Digest.of(config))).write_bytes(config)
    layer = Layer(MODEL_TYPE, digest, (blobs / str(digest)).stat().st_size)
    manifest = build_manifest(Layer(CONFIG_TYPE, Digest.of(config), len(config)), [layer])
    (manifests / "latest").write_bytes(manifest)
    return digest


def bare(url: str, directory: Path) -> float:
    """MB a second of the plain tools, the sync included."""
    begun = time.perf_counter()
    command = f"curl -s {url} | tee {directory}/plain | sha256sum >/dev/null && sync {directory}/plain"
    subprocess.run(["bash", "-c", command], check=True)
    took = time.perf_counter() - begun
    (directory / "plain").unlink()
    return SIZE / took / 1e6


class Watcher(threading.Thread):
    """What a pull does to the daemon meanwhile: its resident memory, and how long others wait for an answer."""

    def __init__(self, powerd: Powerd) -> None:
        super().__init__(daemon=True)
        self._url = powerd.url + "/livez"
        self._process = psutil.Process(powerd.pid)
        self._done = threading.Event()
        self.waits: list[float] = []
        self.before = self.most = self._process.memory_info().rss
        self.start()

    def run(self) -> None:
        with httpx.Client() as client:
            while not self._done.wait(0.02):
                begun = time.perf_counter()
                client.get(self._url)
                self.waits.append(1000 * (time.perf_counter() - begun))
                self.most = max(self.most, self._process.memory_info().rss)

    def end(self) -> None:
        self._done.set()
        self.join()


def pull(powerd: Powerd, name: str) -> tuple[float, Watcher]:
    """MB a second of a pull, with what was watched meanwhile."""
    watcher = Watcher(powerd)
    begun = time.perf_counter()
    answer = powerd.post("/api/pull", {"model": name, "insecure": True, "stream": False})
    took = time.perf_counter() - begun
    watcher.end()
    assert answer.json() == {"status": "success"}, answer.text
    powerd.client_delete(name)
    return SIZE / took / 1e6, watcher


def lags(root: Path, name: str) -> list[float]:
    """How late the event loop that pulls comes to a timer, in milliseconds, all through a pull."""

    async def main() -> list[float]:
        late: list[float] = []

        async def probe() -> None:
            while True:
                due = time.perf_counter() + 0.005
                await asyncio.sleep(0.005)
                late.append(1000 * (time.perf_counter() - due))

        store = Store(root)
        store.open()
        async with Outbound() as outbound:
            watching = asyncio.create_task(probe())
            await registry.pull(Name.parse(name), store, outbound, on_status=lambda _: None, insecure=True)
            watching.cancel()
        store.close()
        return late

    return asyncio.run(main())


def pulling() -> dict[str, object]:
    """The pull's figure."""
    with tempfile.TemporaryDirectory(dir=".bench") as text:
        directory = Path(text).resolve()
        digest = publish(directory / "web", bulky(directory / "big.gguf", SIZE))
        port = free_port()
        server = f"server {{ listen 127.0.0.1:{port}; sendfile on; root {directory}/web; }}"
        with nginx(directory / "nginx", server, port), Powerd(directory) as powerd:
            pairs = []
            for _ in range(PAIRS):
                os.sync()  # nobody pays for the other's unwritten pages
                plain = bare(f"http://127.0.0.1:{port}/v2/library/big/blobs/{digest}", directory)
                os.sync()
                ours, watcher = pull(powerd, f"127.0.0.1:{port}/library/big")
                pairs.append((ours / plain, ours, plain, watcher))
            os.sync()
            late = lags(directory / "lags", f"127.0.0.1:{port}/library/big")
            median = sorted(pairs, key=lambda pair: pair[0])[PAIRS // 2]
            return {
                "ratio": round(median[0], 2),
                "target": 0.7,
                "powerd_mb_s": round(median[1]),
                "curl_tee_sha256sum_mb_s": round(median[2]),
                "resident_growth_mb": round(max(pair[3].most - pair[3].before for pair in pairs) / 1e6, 1),
                "growth_target_mb": 64,
                "loop_lag_ms_p99": round(quantile(late, 0.99), 1),
                "lag_target_ms": 20,
                "others_wait_ms_p99": round(quantile(median[3].waits, 0.99), 1),
            }


def fill(store: Store, directory: Path) -> None:
    """MODELS models that share weights, and small blobs up to BLOBS in all."""
    weights = tiny(directory / "tiny.gguf")
    layer = Layer(MODEL_TYPE, store.take(weights), weights.stat().st_size)
    config = describe(read_header(weights))
    for number in range(MODELS):
        texts = [store.put(f"system {number} {part}".encode()) for part in range(BLOBS // MODELS - 1)]
        layers = [layer, *(Layer(SYSTEM_TYPE, digest, size) for digest, size in texts)]
        store.publish(Name.parse(f"model-{number}"), layers, config)


def starting() -> dict[str, object]:
    """Seconds from exec to the open port on a store with many models."""
    with tempfile.TemporaryDirectory(dir=".bench") as text:
        directory = Path(text).resolve()
        store = Store(directory / "state/models")
        store.open()
        fill(store, directory)
        store.close()
        opened, answered = [], []
        for _ in range(6):
            begun = time.perf_counter()
            with Powerd(directory) as powerd:
                answered.append(time.perf_counter() - begun)
                opened.append(powerd.opened - begun)
                assert len(powerd.get("/api/tags").json()["models"]) == MODELS
        return {
            "open_port_s": round(statistics.median(opened[1:]), 2),  # the first start may compile bytecode
            "target": 1.0,
            "first_answer_s": round(statistics.median(answered[1:]), 2),
            "models": MODELS,
            "blobs": BLOBS,
        }


def available() -> bool:
    """Whether the plain tools the pull is compared with are here."""
    return all(shutil.which(tool) or Path(f"/usr/sbin/{tool}").exists() for tool in ("nginx", "curl", "sha256sum"))
