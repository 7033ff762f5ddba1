"""traits: what holds for everything that is made of a model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from powerd.names import Name
from powerd.reconcile.making.traits import changed, kept_traits, traits
from powerd.reconcile.offer import OWNED_TEMPLATE
from powerd.store.manifest import MODEL_TYPE, TEMPLATE_TYPE, Layer
from tests.gguf_maker import tiny
from tests.reconcile.rig import Rig

GO = "{{ .Prompt }}!"
JINJA = "{{ tools }}{{ m.tool_calls }}{% if m.role == 'tool' %}{% endif %}"


def test_a_config_has_the_traits_it_names() -> None:
    assert traits({"parser": "qwen3", "renderer": "", OWNED_TEMPLATE: "owner", "x": "y"}) == (
        ("parser", "qwen3"),
        (OWNED_TEMPLATE, "owner"),
    )
    assert traits({"parser": 5}) == ()


def test_what_is_made_of_a_model_has_them_unless_it_says_otherwise() -> None:
    base = (("renderer", "a"), ("parser", "b"))
    assert changed(base, {"parser": "c", "template": GO}) == (
        ("renderer", "a"),
        ("parser", "c"),
        (OWNED_TEMPLATE, "owner"),
    )
    assert changed(base, {"template": JINJA}) == changed(base, {}) == base


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"parser": ["x"]}'])
def test_a_config_that_cannot_be_read_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    assert kept_traits(tmp_path / "config") == kept_traits(tmp_path / "gone") == kept_traits(None) == ()


def test_the_owners_template_of_a_created_model_wins_in_a_model_declared_of_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path, offline=True)
    weights = tiny(tmp_path / "a.gguf", template=JINJA)
    rig.store.open()
    layers = [Layer(MODEL_TYPE, rig.store.take(weights), weights.stat().st_size)]
    layers.append(Layer(TEMPLATE_TYPE, *rig.store.put(GO.encode())))
    config: dict[str, object] = {"model_format": "gguf", "parser": "qwen3-coder"}
    rig.store.publish(Name.parse("theirs"), layers, config | {"parser": ""})
    rig.store.publish(Name.parse("mine"), layers, config | {OWNED_TEMPLATE: "owner"})
    rig.store.close()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Modelfile").write_text("FROM mine\n")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "Modelfile").write_text("FROM theirs\n")

    async def work() -> None:
        rig.models("  m: {source: ./mine/Modelfile}\n  t: {source: ./theirs/Modelfile}\n")
        async with rig.running():
            offer = rig.library.find("m")
            assert (offer.chosen.text, offer.chosen.origin) == (GO, "owner")
            assert offer.stored.config["parser"] == "qwen3-coder"
            assert rig.library.find("t").chosen.origin == "model"
            assert not (await rig.plan()).changes
        again = Rig(tmp_path, offline=True)
        async with again.running():  # what was composed says so itself
            assert again.library.find("m").chosen.origin == "owner"
            assert not (await again.plan()).changes

    asyncio.run(work())
