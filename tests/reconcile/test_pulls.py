"""How large a pull would be, asked before one is begun."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from powerd.reconcile.pulls import Pulls
from powerd.reconcile.reach import Reach
from powerd.sources.hub.model import HubConfig
from powerd.sources.transport.outbound import Outbound, OutboundConfig, Patience
from powerd.store.store import Store
from tests.sources.hub.server import Hub, Repo

QUICK = OutboundConfig(patience=Patience(tries=1, pause=0.01, longest_pause=0.01, stall=5))
NAME = "r" * 90  # longer than a registry's names may be: only the hub is asked


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HF_TOKEN", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    yield
    huggingface_hub.close_session()


def test_the_parts_of_a_model_count_together_and_what_is_nowhere_has_no_size(tmp_path: Path) -> None:
    parts = {f"m-F16-0000{part}-of-00002.gguf": b"GGUF" * 10 * part for part in (1, 2)}

    async def sizes(hub: Hub) -> list[int | None]:
        async with Outbound(QUICK) as outbound:
            pulls = Pulls(Reach(Store(tmp_path), outbound, HubConfig(hub.endpoint)))
            texts = (f"hf.co/org/{NAME}:F16", f"hf.co/org/{NAME}:BF16", f"hf.co/org/{NAME}x:F16", "a b")
            return [await pulls.size(text, trusted=True) for text in texts]

    with Hub() as hub:
        hub.repos[f"org/{NAME}"] = Repo({**parts, "m-Q4_K_M.gguf": b"GGUF"})
        assert asyncio.run(sizes(hub)) == [120, None, None, None]
