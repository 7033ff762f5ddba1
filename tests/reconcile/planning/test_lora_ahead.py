"""Adapters in a plan: what a change of them costs, and what those that are not here yet will hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from powerd.control.schema_plan import PlanModel, PlanReply
from powerd.reconcile.planning import planning
from tests.gguf_maker import lora
from tests.reconcile.rig import Rig
from tests.reconcile.webfile import serving


def of(plan: PlanReply, name: str = "a") -> PlanModel:
    (model,) = (model for model in plan.models if model.name == name)
    return model


def test_the_class_of_a_change_is_what_it_does_to_the_runner(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    weights, one, other = rig.weights("w"), rig.adapter("l"), rig.adapter("m", 2)
    plain = f"source: {weights}, state: loaded"
    named = f"{plain}, adapters: [{{source: {one}}}"

    async def run() -> None:
        rig.models(f"  a: {{{named}]}}\n")
        async with rig.running():
            await rig.quiet()

            async def told(fields: str) -> tuple[str, str, list[str]]:
                model = of(await rig.plan(f"  a: {{{fields}}}\n"))
                (field,) = model.fields
                return model.change, field.change, model.steps

            assert await told(f"{named[:-1]}, scale: 0.5}}]") == ("live", "live", ["offer"])
            assert await told(f"{named}, {{source: {one}}}]") == ("replace", "reload", ["fetch", "compose", "offer"])
            assert (await told(f"{plain}, adapters: [{{source: {other}}}]"))[1] == "reload"
            assert await told(f"{named}], pooling: last") == ("reload", "reload", ["offer"])
            assert await told(f"{named}], pooling: mean") == ("live", "reload", ["offer"])

    asyncio.run(run())


def test_an_adapter_that_is_elsewhere_counts_with_its_size_and_is_fetched_as_foretold(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    weights = rig.weights("w")
    data = lora(tmp_path / "far.gguf", rank=64).read_bytes()
    plain = f"  a: {{source: {weights}, state: loaded}}\n"

    async def run(url: str) -> None:
        rig.models(plain)
        async with rig.running():
            await rig.quiet()
            before = of(await rig.plan(plain)).memory
            text = f"  a: {{source: {weights}, state: loaded, adapters: [{{source: '{url}'}}]}}\n"
            plan = await rig.plan(text)
            after = of(plan)
            assert after.memory["cpu"] - before["cpu"] == len(data)
            assert after.fetch is not None
            (piece,) = (file for file in after.fetch.files if file.role == "adapter")
            assert (piece.name, piece.size, piece.present) == (url, len(data), False)
            assert after.fetch.missing == len(data)
            rig.models(text)
            await rig.apply()
            assert {device.id: device.after for device in plan.devices} == {
                device: used for device, _, used in rig.fleet.memory()
            }
            more = f"{text}  b: {{source: {weights}, adapters: [{{source: '{url}', scale: 2}}]}}\n"
            assert not (await rig.plan(more)).moves, "the address gave a file that is loaded already"

    with serving(data) as file:
        asyncio.run(run(file.url))


def test_an_adapter_of_which_nothing_is_known_is_told_and_the_rest_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "PATIENCE", 0.3)
    rig = Rig(tmp_path)
    weights = rig.weights("w")

    async def run() -> None:
        rig.models(f"  a: {{source: {weights}}}\n")
        async with rig.running():
            for source, why in (("http://127.0.0.1:9/a.gguf", "no answer within 0.3 s"), ("x.gguf", "begin with /")):
                model = of(await rig.plan(f"  a: {{source: {weights}, adapters: [{{source: '{source}'}}]}}\n"))
                assert any(why in warning for warning in model.warnings), model.warnings

    asyncio.run(run())


def test_the_adapter_of_a_modelfile_counts_too(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    weights, adapter = rig.weights("w"), rig.adapter("l")
    (tmp_path / "Modelfile").write_text(f"FROM {weights}\nADAPTER ./l.gguf\n")

    async def run() -> None:
        rig.models(f"  a: {{source: {weights}, state: loaded}}\n")
        async with rig.running():
            await rig.quiet()
            plain = of(await rig.plan(f"  a: {{source: {weights}, state: loaded}}\n")).memory["cpu"]
            model = of(await rig.plan("  a: {source: ./Modelfile, state: loaded}\n"))
            assert model.memory["cpu"] - plain == adapter.stat().st_size, model

    asyncio.run(run())
