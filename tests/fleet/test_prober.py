"""The prober: what it asks, what it leaves alone, and helpers that misbehave."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import msgspec
import pytest

from powerd.fleet.footprints import Footprints
from powerd.fleet.prober import Prober, ask, drivers
from powerd.fleet.survey import Survey
from powerd.jobs import Accelerator, Probe, Probed, ProbeFailed
from powerd.protocol import Deployment, encode
from powerd.settings import load
from powerd.store.gguf import read_header

DEMO = Path(__file__).parents[2] / "powerd/demo/tiny-chat-q8_0.gguf"
GIB = 1 << 30
CARD = Accelerator("CUDA0", "gpu", "a card", "0000:c1:00.0", total=24 * GIB, free=20 * GIB, uuid="GPU-1")


def demo(**fields: object) -> Deployment:
    values = {"weights": str(DEMO), "weights_digest": "0" * 64, "context": 1024, "parallel": 2}
    shape = msgspec.to_builtins(read_header(DEMO).shape())
    return msgspec.convert(values | {"shape": shape} | fields, Deployment)


def helper(tmp_path: Path, answer: bytes, *, asked: Path | None = None, hang: bool = False) -> list[str]:
    """A probe that says `answer`, whatever it is asked."""
    note = f"open({str(asked)!r}, 'a').write('asked ')" if asked else ""
    lines = ["import socket, sys, time", "peer = socket.socket(fileno=int(sys.argv[1]))", "peer.recv(65536)", note]
    lines += ["time.sleep(60)" if hang else "", f"peer.sendall({answer!r})"]
    script = tmp_path / "probe.py"
    script.write_text("\n".join(lines))
    return [sys.executable, str(script)]


def test_the_real_probe_answers() -> None:
    answer = asyncio.run(ask(Probe(demo()), 20))
    assert isinstance(answer, Probed)
    assert answer.process > answer.idle > 0


def test_x06_a_probe_that_hangs_is_ended_at_its_deadline(tmp_path: Path) -> None:
    begun = time.monotonic()
    answer = asyncio.run(ask(Probe(), 0.3, helper(tmp_path, b"", hang=True)))
    assert answer == ProbeFailed("the probe did not answer within 0.3 s")
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("answer", [b"", b"\x03\x00\x00\x00abc", b"\xff\xff\xff\xff"])
def test_a_probe_that_ends_or_talks_nonsense_is_a_failure(tmp_path: Path, answer: bytes) -> None:
    failed = asyncio.run(ask(Probe(), 20, helper(tmp_path, answer)))
    assert isinstance(failed, ProbeFailed)
    assert failed.reason.startswith("the probe ended early: ")


def test_a_probe_that_cannot_be_started_is_a_failure(tmp_path: Path) -> None:
    failed = asyncio.run(ask(Probe(), 20, [str(tmp_path / "nothing")]))
    assert failed == ProbeFailed("the probe cannot be started: No such file or directory")


def test_what_is_wanted_is_probed_in_the_background_once(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    found = encode(Probed("engine", (), idle=1, process=7 << 20, compute={"cpu": 1 << 20}))

    async def scenario() -> Footprints:
        footprints = Footprints(tmp_path / "f.json", "engine")
        command = helper(tmp_path, found, asked=asked)
        prober = Prober(footprints, lambda: [demo(), demo(parallel=3)], command, pause=0.01)
        prober.start()
        async with asyncio.timeout(20):
            while footprints.source(demo(parallel=3)) == "header":
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        await prober.stop()
        return footprints

    footprints = asyncio.run(scenario())
    assert footprints.source(demo()) == "probed"
    assert asked.read_text().split() == ["asked", "asked"]


def test_now_answers_with_the_header_where_a_probe_is_of_no_use(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    failed = encode(ProbeFailed("no such architecture"))

    async def scenario() -> None:
        footprints = Footprints(tmp_path / "f.json", "engine")
        prober = Prober(footprints, lambda: (), helper(tmp_path, failed, asked=asked))
        for _ in range(2):
            assert (await prober.now(demo())).source == "header"
        assert (await prober.now(demo(weights=""))).source == "header", "weights that are not here are not probed"
        await prober.stop()

    asyncio.run(scenario())
    assert asked.read_text().split() == ["asked"], "what cannot be probed is not tried again"


def test_without_an_engine_nobody_is_asked_twice(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    missing = encode(ProbeFailed("not installed", missing=True))

    async def scenario() -> None:
        prober = Prober(Footprints(tmp_path / "f.json", ""), lambda: (), helper(tmp_path, missing, asked=asked))
        for parallel in (1, 2):
            await prober.now(demo(parallel=parallel))

    asyncio.run(scenario())
    assert asked.read_text().split() == ["asked"]


# ---------------------------------------------------------------- the devices of the machine


def machine(tmp_path: Path, *devices: str) -> Path:
    root = tmp_path / "root"
    for name in devices:
        (root / "dev" / name).mkdir(parents=True)
    return root


def test_without_a_driver_the_engine_is_not_asked(tmp_path: Path) -> None:
    root = machine(tmp_path)
    survey = Survey(load({}, {}, {}), [str(tmp_path / "nothing")], root)
    assert not drivers(root)
    assert not asyncio.run(survey.look())
    assert [device.id for device in survey.current()] == ["cpu"]


def test_devices_come_with_budgets_and_reserves(tmp_path: Path) -> None:
    command = helper(tmp_path, encode(Probed("engine", (CARD,), idle=1)))
    settings = load({}, {}, {"devices": {"gpu-1": {"reserve": 4 * GIB}}, "gpu_overhead": GIB})
    survey = Survey(settings, command, machine(tmp_path, "nvidiactl"))
    assert asyncio.run(survey.look(20))
    cpu, card = survey.current()
    assert (cpu.id, card.id, card.uuid, card.reserve) == ("cpu", "CUDA0", "GPU-1", 4 * GIB)
    assert card.budget == 16 * GIB, "what is free less the reserve"
    assert survey.unknown() == []
    assert not asyncio.run(survey.look(20)), "nothing has changed"


def test_x06_a_driver_without_devices_leaves_the_cpu(tmp_path: Path) -> None:
    root = machine(tmp_path, "nvidiactl")
    for command in (helper(tmp_path, encode(Probed("engine", (), idle=1))), [str(tmp_path / "nothing")]):
        survey = Survey(load({}, {}, {"devices": {"CUDA3": {"budget": 1}}}), command, root)
        assert not asyncio.run(survey.look(20))
        assert [device.id for device in survey.current()] == ["cpu"]
        assert survey.unknown() == ["CUDA3"]
