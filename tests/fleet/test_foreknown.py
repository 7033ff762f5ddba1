"""What is foretold of memory, held against the resident bytes of real runners."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from powerd.fleet.budget import _shifting, estimate, layers_by_device
from powerd.fleet.devices import Device
from powerd.fleet.footprints import Footprints
from powerd.fleet.prober import Prober
from powerd.protocol import Deployment, ReadBack, Ready
from powerd.store.gguf import read_header
from tests.gguf_maker import bench_model, wide
from tests.runner.child import DEMO, Child

pytestmark = pytest.mark.alone

CPU = (Device("cpu", "cpu", budget=1 << 36),)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random model of 103 million parameters."""
    return bench_model(tmp_path_factory.mktemp("bench") / "100m.gguf")


#: What the pages of libraries count for with a daemon and its helpers beside; here it would depend on which other tests
#: run at the same time, and by half of what the demo takes.
LIBRARIES = 10 << 20


def resident(pid: int, weights: int) -> int:
    """A runner's PSS, as it is beside a daemon."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    private = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))
    return private + weights + LIBRARIES


def deployment(path: Path, **fields: Any) -> Deployment:
    values = {"weights": str(path), "weights_digest": "0" * 64, "shape": msgspec.to_builtins(read_header(path).shape())}
    return msgspec.convert(values | fields, Deployment)


def lived(made: Deployment) -> tuple[ReadBack, int, int]:
    """Load it and keep it busy; the read-back, and what it holds before and after."""
    fields = msgspec.to_builtins(made)
    path, context, parallel = Path(fields.pop("weights")), fields.pop("context"), fields.pop("parallel")
    child = Child()
    try:
        answer = child.load(path, context, parallel, **fields)
        assert isinstance(answer, Ready), answer
        before = resident(child.process.pid, made.shape.weights_bytes)
        numbers = [child.ask("a b c d e f g h " * 40, num_predict=8) for _ in range(min(parallel, 4) * 2)]
        for one in child.wait(*numbers):
            assert one.finished
        return answer.have, before, resident(child.process.pid, made.shape.weights_bytes)
    finally:
        child.close()


def off(foretold: int, real: int) -> float:
    return abs(foretold / real - 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"context": 1024, "parallel": 16},
        {"context": 1024, "parallel": 4, "batch": 128},
        {"context": 4096, "parallel": 1, "kv_cache": "q8_0"},
    ],
)
def test_the_demo_is_foretold_within_15_percent_and_once_learned_within_5(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    check(deployment(DEMO, **fields), tmp_path)


def test_a_model_of_100m_is_foretold_within_15_percent_and_once_learned_within_5(large: Path, tmp_path: Path) -> None:
    check(deployment(large, context=4096, parallel=2), tmp_path)


def check(made: Deployment, tmp_path: Path) -> None:
    have, before, after = lived(made)
    header = estimate(made, CPU).total
    assert off(header, before) < 0.15
    assert off(header, after) < 0.15
    learned = Footprints(tmp_path / "f.json", have.engine, lambda: CPU)
    learned.measured(made, msgspec.structs.replace(have, pss=before, rss=before))
    assert off(learned.need(made).total, before) < 0.05
    assert off(learned.need(made).total, after) < 0.05


def test_the_first_shift_of_a_quantised_cache_takes_what_was_promised_for_it(tmp_path: Path) -> None:
    path = wide(tmp_path / "wide.gguf")
    made = deployment(path, context=256, parallel=128, kv_cache="q8_0")
    promised = _shifting(made, layers_by_device(made, CPU))["cpu"]
    child = Child()
    try:
        assert isinstance(child.load(path, 256, 128, kv_cache="q8_0"), Ready)
        child.one("a b c d e f g h " * 28, num_predict=8)
        before = resident(child.process.pid, 0)
        shifted = child.one("a b c d e f g h " * 28, num_predict=60, shift=True, repeat_limit=0).finished
        assert shifted.shifted > 0
        took = resident(child.process.pid, 0) - before
    finally:
        child.close()
    assert promised * 0.5 < took < promised * 1.1, (promised, took)


def test_a_probe_foretells_what_the_load_measures(tmp_path: Path) -> None:
    made = deployment(DEMO, context=1024, parallel=4)
    footprints = Footprints(tmp_path / "f.json", "engine", lambda: CPU)

    async def asked() -> int:
        need = await Prober(footprints, lambda: ()).now(made)
        assert need.source == "probed"
        return need.total

    foretold = asyncio.run(asked())
    _, before, after = lived(made)
    for real in (before, after):  # the probe counts its part of the libraries: all of it, if nobody else has them open
        assert 0.9 * real - LIBRARIES < foretold < 1.1 * real
