"""Offer: what a model can do and how it writes, from header, template and config together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from powerd.names import Name
from powerd.store.manifest import MODEL_TYPE, TEMPLATE_TYPE, Layer
from tests.gguf_maker import tiny
from tests.reconcile.rig import Rig

TOOLS = "{{ tools }}{% for m in messages %}{{ m.content }}{% endfor %}"


def test_the_demonstration_model_thinks_and_calls_tools(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.models("  demo: {source: 'builtin:demo'}\n  told: {source: 'builtin:demo', template: '{{ messages }}'}\n")

    async def work() -> None:
        async with rig.running():
            offer = rig.library.find("demo")
            assert offer.capabilities == ("completion", "tools", "thinking")
            assert offer.format.thinking is not None
            assert offer.format.tools is not None
            assert rig.library.find("told").capabilities == ("completion",)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("jinja", "go", "config", "expected"),
    [
        (TOOLS, None, {}, ("completion", "tools")),
        (TOOLS, "{{ .Prompt }}{{ .Suffix }}", {"parser": "qwen3"}, ("completion", "tools", "insert")),
        ("{{ messages }}", None, {"capabilities": ["thinking", "vision", 5]}, ("completion", "thinking")),
        ("{{ messages }}", None, {"capabilities": "thinking"}, ("completion",)),
    ],
)
def test_a_model_can_do_what_its_template_its_parser_and_its_config_say(
    tmp_path: Path, jinja: str, go: str | None, config: dict[str, object], expected: tuple[str, ...]
) -> None:
    rig = Rig(tmp_path)
    weights = tiny(tmp_path / "a.gguf", template=jinja)
    rig.models("{}\n")

    async def work() -> None:
        async with rig.running():
            layers = [Layer(MODEL_TYPE, rig.store.take(weights), weights.stat().st_size)]
            layers += [Layer(TEMPLATE_TYPE, *rig.store.put(go.encode()))] if go else []
            rig.store.publish(Name.parse("mine"), layers, {"model_format": "gguf", **config})
            await rig.library.refresh()
            assert rig.library.find("mine").capabilities == expected

    asyncio.run(work())


def test_families_that_forget_their_thoughts_are_known(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.weights("a")
    rig.models("  deepseek-r1: {source: ./a.gguf}\n  other: {source: ./a.gguf}\n")

    async def work() -> None:
        async with rig.running():
            assert rig.library.find("deepseek-r1").forgets
            assert not rig.library.find("other").forgets

    asyncio.run(work())
