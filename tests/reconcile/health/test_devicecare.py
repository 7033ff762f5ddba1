"""devicecare: a GPU that goes away and comes back is told, and the fleet hears of it (X06)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from powerd.fleet.devices import Device
from powerd.jobs import Accelerator, Probed, ProbeFailed
from powerd.reconcile.health import devicecare
from powerd.reconcile.health.bulletin import Bulletin
from powerd.reconcile.health.devicecare import DeviceCare

GPU = Accelerator("CUDA0", "gpu", "NVIDIA H100", "0000:01:00.0", 80 << 30, 80 << 30, "GPU-1")
THERE = Probed("llama.cpp", (GPU,), 1)
GONE = Probed("llama.cpp", (), 1)


class Scene:
    def __init__(self, present: Sequence[Accelerator] = (GPU,), declared: Sequence[str] = ()) -> None:
        self.answer: Probed | ProbeFailed = THERE
        self.asked = 0
        self.changes: list[list[str]] = []
        self.bulletin = Bulletin()
        self.care = DeviceCare(self.ask, self.bulletin, self.changed, declared)
        self.care._expect(present)

    async def ask(self) -> Probed | ProbeFailed:
        self.asked += 1
        return self.answer

    def changed(self, answer: Probed) -> None:
        self.changes.append([each.id for each in answer.accelerators])

    def look(self, answer: Probed | ProbeFailed) -> str:
        self.answer = answer
        asyncio.run(self.care.look())
        return self.care.state()[0]


def test_x06_a_gpu_that_is_gone_is_named_once_and_told_when_it_is_back() -> None:
    scene = Scene()
    assert scene.care.state() == ("", "cpu, CUDA0 (NVIDIA H100, 80.0 GiB)")
    assert scene.look(THERE) == ""
    assert scene.look(GONE) == "CUDA0 (NVIDIA H100) gone; the engine lists cpu"
    assert scene.look(GONE) != ""
    assert scene.look(THERE) == ""
    assert scene.changes == [[], ["CUDA0"]]
    assert [(event.reason, event.message) for event in scene.bulletin.events] == [
        ("DeviceTrouble", "all there -> CUDA0 (NVIDIA H100) gone; the engine lists cpu"),
        ("DevicesBack", "CUDA0 (NVIDIA H100) gone; the engine lists cpu -> cpu, CUDA0 (NVIDIA H100, 80.0 GiB)"),
    ]


def test_a_probe_that_fails_is_trouble_and_takes_nothing_away() -> None:
    scene = Scene()
    assert scene.look(ProbeFailed("SIGSEGV")) == "the engine could not say which devices there are: SIGSEGV"
    assert scene.changes == []
    assert scene.look(THERE) == ""


def test_what_powerd_yaml_names_is_expected_whether_it_was_ever_there() -> None:
    assert Scene((), ["CUDA0"]).care.state()[0] == "CUDA0 gone; the engine lists cpu"
    assert Scene((), ["CUDA0"]).look(THERE) == ""
    assert Scene((GPU,), ["GPU-1"]).care.state()[0] == ""


def test_it_looks_again_and_again_and_at_once_after_a_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devicecare, "LOOK_SECONDS", 0.02)

    async def act() -> None:
        scene = Scene()
        scene.care.start((Device("CUDA0", "gpu", "NVIDIA H100", total=80 << 30),))
        await asyncio.sleep(0.1)
        assert scene.asked >= 2
        monkeypatch.setattr(devicecare, "LOOK_SECONDS", 60.0)
        await asyncio.sleep(0.05)
        before = scene.asked
        scene.care.resumed()
        await asyncio.sleep(0.05)
        assert scene.asked == before + 1
        await scene.care.stop()

    asyncio.run(act())


def test_where_nothing_is_expected_nothing_is_asked() -> None:
    async def act() -> None:
        scene = Scene(())
        scene.care.start(())
        await scene.care.stop()
        assert scene.asked == 0

    asyncio.run(act())
