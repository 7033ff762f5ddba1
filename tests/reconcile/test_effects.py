"""What apply does is what plan printed, and no more: a corpus of edits on a real store and the fake runner."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from powerd.control.schema_plan import PlanModel, PlanReply
from powerd.reconcile.health.bulletin import Event
from powerd.reconcile.planning import planning
from tests.reconcile.rig import Rig

#: Before and after; `{A}`, `{B}` and `{C}` are model files, `{L}` and `{M}` adapters for them.
EDITS = {
    "nothing": ("a: {source: {A}}", "a: {source: {A}}"),
    "a line moved": ("a: {source: {A}}", "\n\n\n  a: {source: {A}}"),
    "add on demand": ("a: {source: {A}}", "a: {source: {A}}\n  b: {source: {B}}"),
    "add loaded": (
        "a: {source: {A}, state: loaded}",
        "a: {source: {A}, state: loaded}\n  b: {source: {B}, state: loaded}",
    ),
    "remove": ("a: {source: {A}, state: loaded}\n  b: {source: {B}, state: loaded}", "b: {source: {B}, state: loaded}"),
    "tombstone": ("a: {source: {A}, state: loaded}", "a: {state: absent}"),
    "live": ("a: {source: {A}, state: loaded}", "a: {source: {A}, state: loaded, parameters: {temperature: 0.1}}"),
    "live system": ("a: {source: {A}, state: loaded}", "a: {source: {A}, state: loaded, system: Be brief.}"),
    "priority": ("a: {source: {A}, state: loaded}", "a: {source: {A}, state: loaded, priority: 7, keep_alive: always}"),
    "reload": ("a: {source: {A}, state: loaded, context: 512}", "a: {source: {A}, state: loaded, context: 1024}"),
    "reload idle": ("a: {source: {A}, context: 512}", "a: {source: {A}, context: 1024}"),
    "replace": ("a: {source: {A}, state: loaded}", "a: {source: {B}, state: loaded}"),
    "replace of two": (
        "a: {source: {A}, state: loaded}\n  b: {source: {B}, state: loaded}",
        "a: {source: {C}, state: loaded}\n  b: {source: {B}, state: loaded, context: 256}",
    ),
    "rename": ("a: {source: {A}, state: loaded}", "b: {source: {A}, state: loaded}"),
    "alias moves": (
        "a: {source: {A}, aliases: [x]}\n  b: {source: {B}}",
        "a: {source: {A}}\n  b: {source: {B}, aliases: [x]}",
    ),
    "pooling": ("a: {source: {A}, state: loaded}", "a: {source: {A}, state: loaded, pooling: last}"),
    "the same in other words": (
        "a: {source: {A}, state: loaded}",
        "a: {source: {A}, state: loaded, pooling: mean, kv_cache: f16}",
    ),
    "an adapter": (
        "a: {source: {A}, state: loaded}",
        "a: {source: {A}, state: loaded, adapters: [{source: {L}}]}",
    ),
    "another adapter": (
        "a: {source: {A}, state: loaded, adapters: [{source: {L}}]}",
        "a: {source: {A}, state: loaded, adapters: [{source: {M}}]}",
    ),
    "no adapter": (
        "a: {source: {A}, state: loaded, adapters: [{source: {L}}]}",
        "a: {source: {A}, state: loaded}",
    ),
    "a scale": (
        "a: {source: {A}, state: loaded, adapters: [{source: {L}}]}",
        "a: {source: {A}, state: loaded, adapters: [{source: {L}, scale: 0.5}]}",
    ),
    "a persona of the same files": (
        "a: {source: {A}, state: loaded, adapters: [{source: {L}}]}",
        "a: {source: {A}, state: loaded, adapters: [{source: {L}}]}\n"
        "  b: {source: {A}, adapters: [{source: {L}, scale: 2}]}",
    ),
    "a persona with a file of its own": (
        "a: {source: {A}, state: loaded, adapters: [{source: {L}}]}",
        "a: {source: {A}, state: loaded, adapters: [{source: {L}}]}\n  b: {source: {A}, adapters: [{source: {M}}]}",
    ),
    "to loaded": ("a: {source: {A}}", "a: {source: {A}, state: loaded}"),
    "to available": ("a: {source: {A}, state: loaded}", "a: {source: {A}}"),
    "one runner for two": (
        "a: {source: {A}, state: loaded}",
        "a: {source: {A}, state: loaded}\n  b: {source: {A}, state: loaded}",
    ),
    "everything": (
        "a: {source: {A}, state: loaded}\n  b: {source: {B}}\n  c: {source: {C}, state: loaded}",
        "a: {source: {A}, state: loaded, context: 256, system: s}\n"
        "  c: {source: {B}, state: loaded}\n  d: {source: {A}}",
    ),
}


def moved(plan: PlanReply) -> Counter[tuple[str, str]]:
    return Counter((move.kind, move.model) for move in plan.moves)


def seen(events: list[Event]) -> Counter[tuple[str, str]]:
    return Counter((event.kind, event.model) for event in events if event.kind in {"load", "unload"})


def named(plan: PlanReply, step: str) -> set[str]:
    return {model.name for model in plan.models if step in model.steps}


@pytest.mark.parametrize("name", EDITS)
def test_apply_does_nothing_that_plan_did_not_print(name: str, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    files = {letter: str(rig.weights(letter, seed)) for seed, letter in enumerate("ABC", 1)}
    files |= {letter: str(rig.adapter(letter, seed)) for seed, letter in enumerate("LM", 1)}

    def text(edit: str) -> str:
        for letter, path in files.items():
            edit = edit.replace(f"{{{letter}}}", path)
        return f"  {edit}\n"

    before, after = EDITS[name]

    async def run() -> None:
        rig.models(text(before))
        async with rig.running():
            await rig.quiet()
            idle = await rig.plan()
            assert not idle.changes, idle
            foretold = await rig.plan(text(after))
            was = {view.pid for view in rig.fleet.views()}
            rig.models(text(after))
            events = await rig.apply()
            told = Counter((event.kind, event.reason, event.model) for event in events)
            assert seen(events) == moved(foretold)
            assert {event.model for event in events if event.reason == "Fetched"} == named(foretold, "fetch")
            gone = named(foretold, "withdraw")
            assert gone.isdisjoint(rig.manifests())
            assert {model.name for model in foretold.models} - gone - {"x"} == rig.manifests()
            assert foretold.following == rig.reconciler.generations.number
            memory = {device: used for device, _, used in rig.fleet.memory()}
            assert {device.id: device.after for device in foretold.devices} == memory
            if not foretold.moves:
                assert {view.pid for view in rig.fleet.views()} == was
            assert not told["error", "InternalError", ""]
            assert not (await rig.plan()).changes

    asyncio.run(run())


def actions(plan: PlanReply) -> dict[str, PlanModel]:
    return {model.name: model for model in plan.models}


def test_a_plan_says_what_each_change_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "PATIENCE", 0.3)
    rig = Rig(tmp_path)
    a, b = rig.weights("a"), rig.weights("b", 2)

    async def run() -> None:
        rig.models(f"  a: {{source: {a}, state: loaded, context: 512}}\n  b: {{source: {b}}}\n")
        async with rig.running():
            await rig.quiet()
            plan = await rig.plan(f"  a: {{source: {a}, state: loaded, context: 1024, system: s}}\n")
            models = actions(plan)
            assert (models["a"].action, models["a"].change, models["a"].steps) == (
                "update",
                "reload",
                ["compose", "offer"],
            )
            assert [(one.name, one.change, one.before, one.after) for one in models["a"].fields] == [
                ("context", "reload", 512, 1024),
                ("system", "live", None, "s"),
            ]
            assert (models["b"].action, models["b"].steps) == ("remove", ["withdraw"])
            [manifest, blobs] = models["b"].deletes
            assert (manifest.what, manifest.when) == ("manifest", "2 s after the file is accepted")
            assert (blobs.bytes, blobs.when) == (
                b.stat().st_size,
                "kept for rollback until generation 1 is forgotten (5 are kept)",
            )
            assert (plan.generation, plan.following) == (1, 2)
            broken = await rig.plan("  a: {sorce: x}\n")
            assert broken.problems
            assert (broken.models, broken.changes) == ([], False)
            gone = await rig.plan(
                f"  n: {{source: {tmp_path}/none.gguf}}\n  a: {{source: {a}, state: loaded, context: 512}}\n"
            )
            assert actions(gone)["n"].action == "refuse"
            assert "there is no such file" in actions(gone)["n"].warnings[0]
            far = await rig.plan("  far: {source: 'http://127.0.0.1:9/x.gguf'}\n")
            fetch = actions(far)["far"].fetch
            assert fetch is not None
            assert fetch.problem

    asyncio.run(run())
