"""The short routes over real owners."""

from __future__ import annotations

from typing import Any

import pytest

from powerd.api.short.schema import PullRequest, wanted
from powerd.errors import BadRequest
from tests.api.rig import Rig

HI = [{"role": "user", "content": "hi"}]


def test_chat_answers_with_one_object(rig: Rig) -> None:
    answer = rig.post("/chat", {"model": "Demo", "messages": HI, "max_tokens": 3, "temperature": 0})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    told = answer.json()
    assert told["message"] == {"role": "assistant", "content": "0 1 2 "}
    assert (told["model"], told["done"], told["done_reason"], told["eval_count"]) == ("Demo", True, "length", 3)
    assert told["created_at"].endswith("Z")
    assert all(isinstance(told[name], int) for name in told if name.endswith(("_duration", "_count")))


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "model is required"),
        ({"model": "demo"}, 400, "messages must hold at least one message"),
        ({"model": "demo", "messages": HI, "temperature": 1000}, 400, "between 0 and 100"),
        ({"model": "nope", "messages": HI}, 404, "model 'nope' not found"),
        ({"model": "demo", "messages": [{"role": "user"}]}, 400, "content"),
    ],
)
def test_a_bad_chat_says_what_is_wrong(rig: Rig, body: Any, status: int, text: str) -> None:
    answer = rig.post("/chat", body)
    assert (answer.status_code, answer.json().keys()) == (status, {"detail", "error"})
    assert text in answer.json()["detail"]


def test_models_say_which_are_loaded(rig: Rig) -> None:
    rig.post("/chat", {"model": "demo", "messages": HI, "max_tokens": 1})
    rows = {row["model"]: row for row in rig.get("/models").json()["models"]}
    assert set(rows["demo:latest"]) == {"model", "description", "loaded", "backend", "size_bytes", "load_duration"}
    assert (rows["demo:latest"]["loaded"], rows["demo:latest"]["backend"]) == (True, "llama.cpp")
    assert rows["demo:latest"]["size_bytes"] > 0


def test_status_tells_what_is_wrong(rig: Rig) -> None:
    assert rig.get("/status").json()["status"] == "ok"
    rig.reasons = ["the disk is full"]
    try:
        told = rig.get("/status").json()
    finally:
        rig.reasons = []
    assert (told["status"], told["reasons"], told["failed_loads"]) == ("degraded", ["the disk is full"], [])


@pytest.mark.parametrize(
    ("quantize", "name"),
    [
        ("auto", "Org/Repo"),
        ("q4", "Org/Repo:Q4_K_M"),
        ("no", "Org/Repo:F16"),
        ("fp32", "Org/Repo:F32"),
        ("Q5_K_S", "Org/Repo:Q5_K_S"),
    ],
)
def test_quantize_chooses_a_file_of_the_repository(quantize: str, name: str) -> None:
    assert wanted(PullRequest("Org/Repo", quantize)) == name


@pytest.mark.parametrize("model", ["llama3.2", "Org/Repo:Q8_0"])
def test_quantize_is_refused_where_it_cannot_choose(model: str) -> None:
    with pytest.raises(BadRequest, match="name the tag"):
        wanted(PullRequest(model, "q4"))


def test_pull_refuses_what_is_no_name(rig: Rig) -> None:
    assert rig.post("/pull", {}).json()["error"] == "model is required"
    assert rig.post("/pull", {"model": "../../etc"}).status_code == 400
