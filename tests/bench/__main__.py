"""`make bench`: prints one JSON line for each figure, always beside its yardstick from the same run.

Speed is a ratio: powerd over HTTP by the bare loop over llama.cpp, turn by turn, the median of the pairs. Absolute
figures say as much about the machine as about powerd.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.bench import constrained, store
from tests.gguf_maker import bench_model
from tests.wire.powerd_process import Powerd

MODEL = Path(".bench") / "bench-100m.gguf"
PAIRS = 3
TOKENS = 256


def python(*arguments: str) -> dict[str, Any]:
    """Run a module and read the JSON it prints."""
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def tell(name: str, **figures: object) -> None:
    """One line of output."""
    sys.stdout.write(json.dumps({"figure": name, **figures}) + "\n")
    sys.stdout.flush()


def speed(powerd: Powerd, streams: int, target: float) -> None:
    """Tokens per second of `streams` answers at once, by the bare loop's."""
    pairs = []
    for _ in range(PAIRS):
        bare = python("tests.bench.raw", str(MODEL), str(streams), str(TOKENS))
        served = python("tests.bench.served", powerd.url, "bench", str(streams), "100", str(TOKENS), "0")
        pairs.append((served["tok_s"] / bare["tok_s"], served["tok_s"], bare["tok_s"]))
    ratio, ours, bare_rate = (statistics.median(column) for column in zip(*pairs, strict=True))
    tell(
        f"{streams} stream{'s' if streams > 1 else ''}",
        ratio=round(ratio, 3),
        target=target,
        powerd_tok_s=round(ours, 1),
        bare_loop_tok_s=round(bare_rate, 1),
        ratios=[round(pair[0], 3) for pair in pairs],
    )


def mixed(powerd: Powerd) -> None:
    """What two long prompts do to four running streams."""
    runs = [python("tests.bench.served", powerd.url, "bench", "4", "20", "512", "2") for _ in range(PAIRS)]
    ratios = [run["gap_ms_p99"] / run["gap_ms_p50"] for run in runs]
    run = sorted(zip(ratios, runs, strict=True), key=lambda pair: pair[0])[len(runs) // 2]
    tell("4 streams beside 2 prompts of 1,500 words", p99_by_usual_gap=round(run[0], 2), target=10, **run[1])


def footprint(powerd: Powerd) -> None:
    """Memory of the idle daemon, and the wall time of `powerctl status`."""

    def pss(process: psutil.Process) -> float:
        return float(process.memory_full_info().pss) / 1e6

    daemon = psutil.Process(powerd.pid)
    children = daemon.children(recursive=True)
    alone = pss(daemon)
    tell("idle daemon", pss_mb=round(alone, 1), target=120, with_helpers_mb=round(alone + sum(map(pss, children)), 1))
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        powerd.powerctl("status")
        times.append(1000 * (time.perf_counter() - begun))
    tell("powerctl status", median_ms=round(statistics.median(times), 1), target=200)


def main() -> None:
    """All figures."""
    bench_model(MODEL)
    tell("machine", cores=os.cpu_count(), processor=platform.machine(), python=platform.python_version())
    with tempfile.TemporaryDirectory() as directory:
        declared = f"models:\n  bench: {{source: {MODEL.resolve()}, context: 4096, parallel: 8, keep_alive: 1h}}\n"
        with Powerd(Path(directory), models=declared) as powerd:
            powerd.wait("Fits", "bench", 60)
            footprint(powerd)
            powerd.post("/v1/completions", {"model": "bench", "prompt": "warm up", "max_tokens": 4})
            speed(powerd, 1, 0.85)
            speed(powerd, 8, 0.80)
            mixed(powerd)
    for streams in (1, 8):
        figures = constrained.measured(MODEL, streams, 128)
        tell(f"constrained by unconstrained, {streams} at once", target=0.9, **figures)
    tell("telling an answer apart, per token", target_us=20, **python("tests.bench.parsing"))
    tell("embeddings of short inputs, test model", target_ms=20, **python("tests.bench.vectors"))
    tell("start on a full store", **store.starting())
    if store.available():
        tell("pull of 1 GiB from loopback", **store.pulling())
    else:
        tell("pull of 1 GiB from loopback", left_out="needs nginx, curl and sha256sum")


if __name__ == "__main__":
    main()
