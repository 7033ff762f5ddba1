"""create: what uploaded weights get because of the template they bring, and what keeps uploads while they are used."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from powerd.prompt.published import FAMILIES
from powerd.reconcile.create import create
from powerd.reconcile.making.creation import CreateRequest
from powerd.reconcile.offer import Offer
from powerd.store import collect
from tests.gguf_maker import tiny
from tests.reconcile.rig import Rig

CHATML = FAMILIES["chatml"]


def made(directory: Path, brought: str, **fields: Any) -> tuple[Offer, list[str]]:
    """The model made of weights with the template `brought`, and what was said on the way."""
    rig = Rig(directory)
    rig.models("{}\n")
    told: list[str] = []

    async def work() -> Offer:
        async with rig.running():
            digest = rig.store.take(tiny(directory / "a.gguf", template=brought))
            request = CreateRequest("mine", files={"a.gguf": str(digest)}, **fields)
            await create(request, rig.library, rig.store, lambda status: told.append(str(status["status"])))
            return rig.library.find("mine")

    return asyncio.run(work()), told


def test_weights_with_a_familys_jinja_get_its_go_template_and_stops(tmp_path: Path) -> None:
    offer, told = made(tmp_path, CHATML.jinja + "\n", parameters={"top_k": 3})
    assert "using autodetected template chatml" in told
    assert (offer.chosen.text, offer.chosen.origin) == (CHATML.go, "layer")
    assert dict(offer.parameters) == {"stop": list(CHATML.stops), "top_k": 3}


@pytest.mark.parametrize(
    ("brought", "fields", "origin"),
    [
        ("{{ messages }}", {}, "model"),
        (CHATML.jinja, {"template": "{{ .Prompt }}"}, "owner"),
    ],
)
def test_other_weights_and_a_template_of_the_owner_get_nothing(
    tmp_path: Path, brought: str, fields: dict[str, Any], origin: str
) -> None:
    offer, told = made(tmp_path, brought, **fields)
    assert not any("autodetected" in status for status in told)
    assert (offer.chosen.origin, dict(offer.parameters)) == (origin, {})


def test_the_owners_stops_win_over_the_familys(tmp_path: Path) -> None:
    offer, _ = made(tmp_path, CHATML.jinja, parameters={"stop": ["x"]})
    assert dict(offer.parameters) == {"stop": ["x"]}


class Hours:
    """The clock of the store's leases, hours later."""

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() + 10 * collect.LEASE


def test_uploads_stay_while_they_are_converted_and_go_at_a_later_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    rig.models("{}\n")
    begun = tmp_path / "begun"
    waiting = (sys.executable, "-c", f"import time; open({str(begun)!r}, 'w').close(); time.sleep(60)")

    async def work() -> None:
        async with rig.running():
            files = {name: str(rig.store.put(name.encode())[0]) for name in ("model.safetensors", "config.json")}
            request = CreateRequest("mine", files=files)
            making = asyncio.create_task(create(request, rig.library, rig.store, lambda _: None, converter=waiting))
            async with asyncio.timeout(20):
                while not begun.exists():
                    await asyncio.sleep(0.01)
            monkeypatch.setattr(collect, "time", Hours)
            assert rig.store.collect([], grace=0) == []
            making.cancel()
            with pytest.raises(asyncio.CancelledError):
                await making
            assert {str(digest) for digest in rig.store.collect([], grace=0, fraction=0.5)} == set(files.values())
            assert not list((rig.store.root / ".powerd/ingest").iterdir())

    asyncio.run(work())
