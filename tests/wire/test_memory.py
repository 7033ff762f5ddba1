"""What `plan` says a model will need, against what its runner really has.

The runner's PSS is read from the system after answers have filled its cells, not from what it says of itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gguf_maker import bench_model
from tests.wire.powerd_process import Powerd

BEFORE, LEARNED = 0.15, 0.05


def pss(pid: int) -> int:
    """Bytes the process is the cause of, shared pages counted by part."""
    return _held(pid, "Pss")


def rss(pid: int) -> int:
    """Bytes the process sees, shared pages counted whole."""
    return _held(pid, "Rss")


def _held(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def planned(powerd: Powerd, model: str) -> tuple[int, str]:
    """Bytes that plan expects the model to hold once loaded, and how it knows."""
    row = next(row for row in powerd.control("GET", "/v1/plan")["models"] if row["name"] == model)
    return sum(row["memory"].values()), row["measured"]


@pytest.mark.alone
@pytest.mark.model
@pytest.mark.parametrize("which", ["demo", "random"])
def test_the_plans_memory_is_what_the_runner_takes(tmp_path: Path, which: str) -> None:
    source = "builtin:demo" if which == "demo" else str(bench_model(tmp_path / "random.gguf"))
    with Powerd(tmp_path, models=f"models:\n  m: {{source: '{source}', context: 1024, parallel: 16}}\n") as powerd:
        powerd.wait("Fits", "m")
        before, _ = planned(powerd, "m")
        body = {"model": "m", "prompt": "Once " * 100, "stream": False, "options": {"num_predict": 20}}
        assert powerd.post("/api/generate", body).status_code == 200
        row = powerd.ps()[0]
        real, seen = pss(row["pid"]), rss(row["pid"])
        learned, how = planned(powerd, "m")
        assert powerd.post("/api/generate", {**body, "format": "json"}).status_code == 200
        promised = powerd.ps()[0]["size"] - row["size"]
        least, most = pss(row["pid"]) - real, rss(row["pid"]) - seen
    assert how == "measured"
    assert abs(learned - real) <= LEARNED * real, f"learned {learned:,}, real {real:,}"
    assert abs(before - real) <= BEFORE * real, f"before {before:,}, real {real:,}"
    # Other tests' runners may have the libraries loaded too, so what they cost lies between a part of them and all.
    assert least <= promised * (1 + BEFORE), f"promised {promised:,} for answers held to a schema, took {least:,}"
    assert promised <= most * 1.5, f"promised {promised:,} for answers held to a schema, took {most:,}"
