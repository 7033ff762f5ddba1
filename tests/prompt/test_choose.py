"""Which template serves a model."""

from __future__ import annotations

import pytest

from powerd.prompt.choose import Chosen, choose
from powerd.prompt.generic import TEMPLATE


@pytest.mark.parametrize(
    ("owner", "model", "expected"),
    [
        ("mine", "its own", Chosen("mine", "owner")),
        (None, "its own", Chosen("its own", "model")),
        (" \n", "its own", Chosen("its own", "model")),
        (None, None, Chosen(TEMPLATE, "generic")),
        ("", "  ", Chosen(TEMPLATE, "generic")),
    ],
)
def test_the_owner_wins_over_the_model_and_the_model_over_the_generic(
    owner: str | None, model: str | None, expected: Chosen
) -> None:
    assert choose(owner, model) == expected
