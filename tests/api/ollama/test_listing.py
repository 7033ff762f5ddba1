"""/api/ps as a pure function: order, expiry, and runners whose name is gone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from powerd.api.ollama.listing import loaded
from powerd.fleet.terms import RunnerView
from tests.api.rig import Rig

NOW = datetime(2026, 8, 21, 10, 0, 0, tzinfo=UTC)


def view(model: str, expires_at: float | None, **more: Any) -> RunnerView:
    values: dict[str, Any] = {
        "model": model,
        "names": (model,),
        "key": model,
        "digest": "ab" * 32,
        "pid": 1,
        "state": "ready",
        "context": 64,
        "parallel": 1,
        "size": 9,
        "size_vram": 4,
        "expires_at": expires_at,
        "requests": 0,
        "queued": 0,
        "progress": 1.0,
        "readback": None,
        "stats": None,
        "override": "",
        **more,
    }
    return RunnerView(**values)


def test_the_longest_remaining_time_comes_first() -> None:
    rows = loaded([view("a", 110.0), view("b", None), view("c", 130.5)], lambda _name: None, NOW, 100.0)
    assert [(row["name"], row["expires_at"]) for row in rows[1:]] == [
        ("c", "2026-08-21T10:00:30.5Z"),
        ("a", "2026-08-21T10:00:10Z"),
    ]
    assert rows[0]["name"] == "b"
    assert str(rows[0]["expires_at"]).startswith("2318-")


def test_an_expiry_in_the_past_is_now() -> None:
    assert loaded([view("a", 90.0)], lambda _name: None, NOW, 100.0)[0]["expires_at"] == "2026-08-21T10:00:00Z"


def test_what_is_loading_is_shown_and_what_is_stopping_is_not() -> None:
    rows = loaded([view("a", 1.0, state="loading"), view("b", 1.0, state="stopping")], lambda _name: None, NOW, 0.0)
    assert [row["name"] for row in rows] == ["a"]


def test_a_runner_whose_name_is_gone_is_shown_by_its_weights() -> None:
    (row,) = loaded([view("gone", 1.0)], lambda _name: None, NOW, 0.0)
    assert (row["name"], row["digest"], row["size"], row["size_vram"], row["context_length"]) == (
        "gone",
        "ab" * 32,
        9,
        4,
        64,
    )


def test_a_known_name_is_shown_as_tags_shows_it(rig: Rig) -> None:
    offer = rig.library.find("demo")
    (row,) = loaded([view("demo", 1.0)], lambda _name: offer, NOW, 0.0)
    assert row["name"] == "demo:latest"
    assert row["digest"] == offer.stored.digest.hex
