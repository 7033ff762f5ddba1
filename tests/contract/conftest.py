"""A rig of the API with models that say whatever they are asked to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from powerd.catalog.spec import Template
from tests.api.rig import EMBED, Rig
from tests.wire.powerd_process import Powerd

#: The prompt is the last message, so the fake runner takes its orders from there; tools and thinking are known to it.
_OBEYS = Template(
    "{% if tools %}<tool_call></tool_call>{% endif %}{% if enable_thinking %}<think></think>{% endif %}"
    "{{ messages[-1].content }}",
    "jinja",
)


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """`demo`, `ns/tuned:v1`, `plain` and `embed` are installed, see tests/api/rig.py."""
    with Rig(tmp_path_factory.mktemp("contract")) as rig:
        yield rig


@pytest.fixture
def parrot(rig: Rig) -> Iterator[Any]:
    """A declared model whose answer to `…?say=TEXT` is TEXT, percent-encoded."""
    yield rig.declare("parrot", template=_OBEYS)
    rig.withdraw()


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a real powerd with the demo model as `demo` and an embedding model as `embed`."""
    models = f"models:\n  demo: {{source: 'builtin:demo'}}\n  embed: {{source: {EMBED}}}\n"
    with Powerd(tmp_path_factory.mktemp("real"), models=models) as powerd:
        powerd.wait("Fits", "demo")
        powerd.wait("Fits", "embed")
        with httpx.Client(base_url=powerd.url, timeout=60) as client:
            yield client
