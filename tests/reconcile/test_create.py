"""create: what uploaded weights get because of the template they bring."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from powerd.prompt.published import FAMILIES
from powerd.reconcile.create import create
from powerd.reconcile.creation import CreateRequest
from powerd.reconcile.offer import Offer
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
