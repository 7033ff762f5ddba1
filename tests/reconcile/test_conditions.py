"""conditions: what status says of a model, from facts alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from powerd.catalog.spec import ModelSpec, Position
from powerd.fleet.terms import LoadFailure, RunnerView
from powerd.names import Name
from powerd.protocol import Deployment, ReadBack, Shape
from powerd.reconcile.conditions import MODEL_CONDITIONS, Facts, Trouble, Verdict, as_declared, judge

SPEC = ModelSpec(Name.declared("m"), "/m.gguf", Position("models.yaml", 1, 1))
LOADED = replace(SPEC, state="loaded")
DEPLOYMENT = Deployment("/blob", "a" * 64, 4096, 2, Shape(10, 1, 1, 1, 1, 4096))
READBACK = ReadBack(4096, 8192, 2, 4, 0, "f16", True, 2, 100, 4096, "llama.cpp", "cpu", 5, 10, 0)
RUNNER = RunnerView(
    "m", ("m",), DEPLOYMENT.key, "a" * 64, 77, "ready", 4096, 2, 10, 0, None, 0, 0, 1.0, READBACK, None, ""
)
STORED = Facts(SPEC, weights="aaaaaaaaaaaa", deployment=DEPLOYMENT, budget=(1 << 20, 1 << 30))


def said(facts: Facts) -> dict[str, tuple[str, str]]:
    return {name: (item.status, item.reason) for name, item in judge(facts, {}, 1, 0.0).items()}


def test_nothing_known_is_unknown_and_every_condition_is_there() -> None:
    assert said(Facts(SPEC)) == dict.fromkeys(MODEL_CONDITIONS, ("Unknown", ""))


def test_a_fetch_under_way_tells_how_far_it_is() -> None:
    fetched = judge(Facts(SPEC, fetching=("fetching", 410, 1000)), {}, 1, 0.0)["Fetched"]
    assert (fetched.status, fetched.reason, fetched.message) == ("False", "Fetching", "41 % of 1000 B")
    assert judge(Facts(SPEC, fetching=("fetching", 410, 0)), {}, 1, 0.0)["Fetched"].message == "410 B so far"


def test_a_model_on_demand_is_as_declared_when_it_could_be_loaded() -> None:
    conditions = judge(STORED, {}, 1, 0.0)
    assert (conditions["Loaded"].status, conditions["Loaded"].reason) == ("False", "Idle")
    assert as_declared(SPEC, conditions)
    assert not as_declared(LOADED, conditions)


@pytest.mark.parametrize("memory", [True, False])
def test_a_load_that_failed_says_why_and_one_that_wanted_memory_does_not_fit(memory: bool) -> None:
    failure = LoadFailure("m", DEPLOYMENT.key, "needs 9 GB and 8 GB are there", 1.0, 2, 61.0, memory)
    failed = replace(STORED, spec=LOADED, failure=failure)
    conditions = judge(failed, {}, 1, 0.0)
    assert (conditions["Loaded"].reason, conditions["Loaded"].message) == ("LoadFailed", failure.reason)
    expected = ("False", "OutOfMemory") if memory else ("True", "WithinBudget")
    assert (conditions["Fits"].status, conditions["Fits"].reason) == expected
    loading = replace(failed, runner=replace(RUNNER, state="loading"))
    assert judge(loading, {}, 1, 0.0)["Loaded"].reason == "Loading"


def test_a_running_model_is_compared_with_what_the_engine_says_it_has() -> None:
    running = replace(STORED, spec=LOADED, runner=RUNNER)
    conditions = judge(running, {}, 1, 0.0)
    assert {conditions[name].status for name in MODEL_CONDITIONS} == {"True"}
    assert as_declared(LOADED, conditions)
    drifted = replace(RUNNER, readback=ReadBack(2048, 4096, 2, 4, 0, "f16", True, 2, 100, 4096, "x", "cpu", 5, 10, 0))
    conditions = judge(replace(running, runner=drifted), {}, 1, 0.0)
    assert conditions["InSync"].message == (
        "context: want 4096, have 2048 tokens a sequence; cells: want 8192, have 4096 in the pool"
    )
    assert not as_declared(LOADED, conditions)


@pytest.mark.parametrize(
    ("verdict", "state", "ready"),
    [
        (Verdict("off"), "ready", ("True", "EngineReady")),
        (Verdict("pending"), "ready", ("Unknown", "CanaryPending")),
        (Verdict("failed", "no answer in 5 s"), "ready", ("False", "CanaryFailed")),
        (Verdict("answered", "one token in 0.01 s"), "ready", ("True", "CanaryAnswered")),
        (Verdict("answered"), "draining", ("False", "Draining")),
    ],
)
def test_ready_is_what_the_canary_says(verdict: Verdict, state: Any, ready: tuple[str, str]) -> None:
    running = replace(STORED, spec=LOADED, runner=replace(RUNNER, state=state), canary=verdict)
    assert said(running)["Ready"] == ready
    assert as_declared(LOADED, judge(running, {}, 1, 0.0)) is (ready[0] == "True")


def test_loading_and_waiting_are_told_apart() -> None:
    loading = replace(RUNNER, state="loading", progress=0.6, readback=None)
    assert judge(replace(STORED, spec=LOADED, runner=loading), {}, 1, 0.0)["Loaded"].message == "60%"
    assert said(replace(STORED, spec=LOADED))["Loaded"] == ("False", "Waiting")
    assert said(replace(STORED, last_unload="evicted for b"))["Loaded"] == ("False", "Unloaded")


def test_trouble_makes_its_condition_false_and_leaves_a_standing_offer_known() -> None:
    trouble = Trouble("Fetched", "SourceFailed", "no route")
    assert said(Facts(SPEC, trouble=trouble))["Fetched"] == ("False", "SourceFailed")
    standing = said(replace(STORED, trouble=trouble))
    assert (standing["Fetched"], standing["Fits"]) == (("False", "SourceFailed"), ("True", "WithinBudget"))


def test_a_model_too_large_says_so_with_numbers() -> None:
    small = Trouble("Fits", "NeedsBytes", "needs about 2.0 GiB and 1.0 GiB are available")
    assert said(replace(STORED, fits=small))["Fits"] == ("False", "NeedsBytes")


def test_the_time_of_the_last_transition_is_kept_while_the_status_stays() -> None:
    first = judge(STORED, {}, 1, 10.0)
    second = judge(replace(STORED, runner=RUNNER), first, 2, 20.0)
    assert (second["Fits"].since, second["Fits"].generation) == (10.0, 2)
    assert second["Loaded"].since == 20.0


def test_a_tombstone_is_as_declared() -> None:
    assert as_declared(replace(SPEC, state="absent"), {})
