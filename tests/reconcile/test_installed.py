"""A declared source that is installed here is taken as it is, and nobody is asked; anything else is asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from powerd.names import Name
from powerd.reconcile.reach import installed
from powerd.sources.source import parse
from powerd.store.gguf import read_header
from powerd.store.manifest import MODEL_TYPE, SYSTEM_TYPE, Layer, describe
from tests.reconcile.rig import Rig


def publish(rig: Rig, *names: str) -> Path:
    weights = rig.weights("w")
    system, size = rig.store.put(b"Be brief.")
    layers = [Layer(MODEL_TYPE, rig.store.take(weights), weights.stat().st_size), Layer(SYSTEM_TYPE, system, size)]
    for name in names:
        rig.store.publish(Name.parse(name), layers, describe(read_header(weights)))
    return weights


def test_an_installed_name_needs_no_network(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path, offline=True)
        async with rig.running():
            publish(rig, "mine", "hf.co/org/Repo-GGUF:Q8_0")
            rig.models("  a: {source: mine}\n  b: {source: 'hf.co/org/Repo-GGUF:Q8_0'}\n")
            planned = {model.name: (model.action, model.fetch) for model in (await rig.plan()).models}
            assert [(action, fetch and fetch.missing) for action, fetch in planned.values()] == [("adopt", 0)] * 2
            await rig.apply()
            assert rig.library.find("a").stored.system == "Be brief."
            assert rig.library.find("b").stored.system == "Be brief."

    asyncio.run(scenario())


def test_what_is_pinned_to_other_weights_or_another_type_is_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path, offline=True)
        async with rig.running():
            publish(rig, "mine")
            rig.models(
                f"  a: {{source: mine, digest: 'sha256:{'0' * 64}'}}\n  b: {{source: mine, quantization: Q4_K_M}}\n"
            )
            await rig.reconciler.apply()
            await rig.reconciler.waiting.settle(1)
            for name in ("a", "b"):
                trouble = rig.reconciler.entries[name].trouble
                assert trouble is not None
                assert "offline" in trouble.message

    asyncio.run(scenario())


def test_a_model_with_a_corrupt_blob_does_not_count_as_installed(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path, offline=True)
        async with rig.running():
            publish(rig, "mine")
            source = parse("mine", tmp_path)
            found = installed(source, rig.store)
            assert found is not None
            data = bytearray(found.weights.read_bytes())
            data[-1] ^= 1
            found.weights.chmod(0o644)
            found.weights.write_bytes(data)
            assert installed(source, rig.store) is None

    asyncio.run(scenario())
