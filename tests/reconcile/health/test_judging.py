"""judging: every model by one look at the fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reconcile.rig import Rig


def test_the_fleet_is_looked_at_once_however_many_models_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    path = rig.weights("a")
    rig.models("".join(f"  m{number}: {{source: {path}, context: {64 + number}}}\n" for number in range(5)))
    looks: list[str] = []

    def counted(name: str, look: Callable[[], object]) -> Callable[[], object]:
        def counting() -> object:
            looks.append(name)
            return look()

        return counting

    async def play() -> None:
        async with rig.running():
            for name in ("views", "failures", "memory"):
                monkeypatch.setattr(rig.fleet, name, counted(name, getattr(rig.fleet, name)))
            rig.reconciler.judging.refresh()
            assert sorted(looks) == ["failures", "memory", "views"]

    asyncio.run(play())


def test_the_runner_that_takes_new_requests_is_the_one_that_is_judged(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.models(f"  a: {{source: {rig.weights('a')}, state: loaded}}\n  b: {{source: {rig.weights('b', 2)}}}\n")

    async def play() -> None:
        async with rig.running():
            await rig.quiet()
            entries, sight = rig.reconciler.entries, rig.reconciler.judging.sight()
            runner = sight.runner(entries["a"])
            assert runner is not None
            assert runner.state == "ready"
            assert sight.runner(entries["b"]) is None, "it is not loaded"
            assert entries["a"].conditions["Loaded"].message.startswith(f"pid {runner.pid}, ")

    asyncio.run(play())
