"""require: what was loaded otherwise than asked is not served, and it is tried again when its time has come (X06)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from powerd.errors import Busy
from powerd.fleet.devices import Device
from powerd.reconcile import reconciler as reconciler_module
from tests.reconcile.rig import Rig

GIB = 1 << 30
#: A machine whose engine promises a GPU; the fake runner puts no layer on it.
DEVICES = (Device("cpu", "cpu", budget=8 * GIB), Device("CUDA0", "gpu", budget=8 * GIB))


async def until(look: object, seconds: float = 10) -> None:
    assert callable(look)
    async with asyncio.timeout(seconds):
        while not look():
            await asyncio.sleep(0.01)


def test_x06_unmet_after_the_load_is_refused_with_numbers_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler_module, "REQUIRE_SECONDS", 0.3)
    rig = Rig(tmp_path)
    path = rig.weights("a")
    rig.models(
        f"  a: {{source: {path}, state: loaded, require: {{full_offload: true}}}}\n"
        f"  b: {{source: {path}, context: 64, parallel: 1}}\n"
    )

    async def act() -> None:
        rig.fleet.set_devices(DEVICES)
        async with rig.running():
            entry = rig.reconciler.entries["a"]
            await until(lambda: entry.trouble is not None and entry.trouble.reason == "RequireUnmet")
            fits = entry.conditions["Fits"]
            assert (fits.status, fits.reason) == ("False", "RequireUnmet")
            assert "`require: full_offload` is not met: 0 of 2 layers are on an accelerator" in fits.message
            with pytest.raises(Busy, match="full_offload"):
                rig.library.find("a")
            assert rig.library.find("b").name.model == "b", "who asks for nothing is served"
            await until(lambda: not rig.fleet.views())
            loads = [event for event in rig.reconciler.bulletin.events if event.kind == "load"]
            await until(lambda: len([e for e in rig.reconciler.bulletin.events if e.kind == "load"]) > len(loads))

    asyncio.run(act())


def test_x06_a_runner_that_others_share_stays_theirs(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    path = rig.weights("a")
    both = f"  b: {{source: {path}, state: loaded}}\n"
    rig.models(both)

    async def act() -> None:
        rig.fleet.set_devices(DEVICES)
        async with rig.running():
            await rig.quiet()
            [runner] = rig.fleet.views()
            rig.models(f"{both}  a: {{source: {path}, state: loaded, require: {{gpu: true}}}}\n")
            await rig.apply()
            assert rig.reconciler.entries["a"].conditions["Fits"].reason == "RequireUnmet"
            assert rig.reconciler.entries["b"].conditions["Ready"].status == "True"
            assert [view.pid for view in rig.fleet.views()] == [runner.pid]

    asyncio.run(act())
