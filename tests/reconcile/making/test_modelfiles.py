"""modelfiles: a Modelfile as the source of a declared model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from powerd.errors import SourceFailed
from powerd.names import Name
from powerd.reconcile.making.modelfiles import read
from powerd.sources.source import parse
from powerd.store.manifest import LICENSE_TYPE, MODEL_TYPE, PARAMS_TYPE, SYSTEM_TYPE, Layer
from powerd.store.store import Store
from tests.reconcile.rig import Rig


def source(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SYSTEM x", "no FROM line"),
        ("FROM a\nFROM b", "has one FROM line, and this has 2"),
        ("FROM ./a.gguf\nADAPTER https://h/l.gguf", "name a LoRA adapter's GGUF file"),
        ("FROM ./Modelfile", "names another Modelfile"),
        ("FROM ./none.gguf", "there is no such file"),
        ("FROM models/a.gguf", "begin with / or ./"),
        ("FROM a\nPARAMETER temperature hot", "invalid float value"),
        ("FROM builtin:nope", "builtin:demo is the one"),
    ],
)
def test_what_is_no_source_is_said(tmp_path: Path, text: str, told: str) -> None:
    source(tmp_path / "Modelfile", text)
    with pytest.raises(SourceFailed, match=told.replace("/", r"\/").replace(".", r"\.")):
        read(parse("./Modelfile", tmp_path), Store(tmp_path / "store"))


def test_a_modelfile_is_served_with_its_texts_and_followed_when_it_changes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.weights("a")
    text = 'FROM a.gguf\nSYSTEM """Be\nbrief."""\nPARAMETER temperature 0.25\nPARAMETER stop <x>\nMESSAGE user hi\n'
    source(tmp_path / "Modelfile", text)

    async def work() -> None:
        rig.models("  m: {source: ./Modelfile, parameters: {top_k: 3}}\n  n: {source: ./Modelfile, system: Mine.}\n")
        async with rig.running():
            offer = rig.library.find("m")
            assert (offer.system, offer.messages) == ("Be\nbrief.", (("user", "hi"),))
            assert dict(offer.parameters) == {"temperature": 0.25, "stop": ["<x>"], "top_k": 3}
            assert rig.library.find("n").system == "Mine."
            assert not (await rig.plan()).changes
            source(tmp_path / "Modelfile", text.replace("brief", "long"))
            plan = await rig.plan()
            assert [(model.action, model.steps) for model in plan.models] == [
                ("update", ["fetch", "compose", "offer"])
            ] * 2
            await rig.apply()
            assert rig.library.find("m").system == "Be\nlong."
            (tmp_path / "Modelfile").unlink()
            (tmp_path / "a.gguf").unlink()
            assert not (await rig.plan()).changes  # what is in the store goes on

    asyncio.run(work())


def test_from_an_installed_model_asks_nobody_and_takes_its_layers(tmp_path: Path) -> None:
    rig = Rig(tmp_path, offline=True)
    weights = rig.weights("a")
    source(tmp_path / "Modelfile", "FROM mine\nPARAMETER top_p 0.5\nLICENSE Ours.\n")
    rig.store.open()
    digest = rig.store.take(weights)
    layers = [Layer(MODEL_TYPE, digest, weights.stat().st_size)]
    for kind, data in (
        (SYSTEM_TYPE, b"Theirs."),
        (PARAMS_TYPE, json.dumps({"top_k": 7}).encode()),
        (LICENSE_TYPE, b"T"),
    ):
        layers.append(Layer(kind, *rig.store.put(data)))
    rig.store.publish(Name.parse("mine"), layers, {"model_format": "gguf"})
    rig.store.close()

    async def work() -> None:
        rig.models("  m: {source: ./Modelfile}\n")
        async with rig.running():
            offer = rig.library.find("m")
            assert (offer.system, dict(offer.parameters)) == ("Theirs.", {"top_k": 7, "top_p": 0.5})
            assert offer.stored.licenses == ("T", "Ours.")
            plan = await rig.plan("  other: {source: ./Modelfile, system: New.}\n")
            [other] = [model for model in plan.models if model.name == "other"]
            assert (other.action, other.fetch) == ("adopt", None)

    asyncio.run(work())
