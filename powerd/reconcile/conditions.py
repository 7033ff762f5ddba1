"""What status says of a model: seven conditions, each with a reason and one sentence with numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from powerd.catalog.spec import ModelSpec
from powerd.fleet.terms import LoadFailure, RunnerView
from powerd.protocol import Deployment
from powerd.quantities import show_bytes
from powerd.reconcile.readback import differences, where

Truth = Literal["True", "False", "Unknown"]
MODEL_CONDITIONS = ("Resolved", "Fetched", "Verified", "Fits", "Loaded", "Ready", "InSync")
NODE_CONDITIONS = ("ConfigValid", "Reconciled", "DevicesHealthy", "StoreHealthy")


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement. `since` is when `status` last changed, seconds since the epoch."""

    type: str
    status: Truth = "Unknown"
    reason: str = ""
    message: str = ""
    since: float = 0.0
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a step cannot be taken: which condition it makes False, and what to do about it."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a loaded runner's last canary came to: a request for one token through the queue that all requests use."""

    status: Literal["off", "pending", "answered", "failed"] = "off"
    message: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the conditions of one model are made from."""

    spec: ModelSpec
    trouble: Trouble | None = None
    fetching: tuple[str, int, int] | None = None  # stage, bytes completed, total (0 = unknown)
    weights: str = ""  # short digest once the weights are verified
    deployment: Deployment | None = None  # of the offer, once there is one
    fits: Trouble | None = None
    budget: tuple[int, int] = (0, 0)  # bytes needed, bytes in the ledger
    runner: RunnerView | None = None
    canary: Verdict = Verdict()  # of that runner
    failure: LoadFailure | None = None  # the last load, where it failed
    last_unload: str = ""  # why the last runner ended, if one did


def judge(facts: Facts, before: Mapping[str, Condition], generation: int, now: float) -> dict[str, Condition]:
    """The seven conditions; `since` is carried over where the status stayed the same."""
    spoken = _statements(facts)
    if facts.trouble is not None:
        spoken = _overrule(spoken, facts.trouble)
    return {
        name: settle(Condition(name, *spoken.get(name, ("Unknown", "", "")), now, generation), before.get(name))
        for name in MODEL_CONDITIONS
    }


def settle(condition: Condition, before: Condition | None) -> Condition:
    """`condition`, keeping the time of the last transition if the status did not change."""
    if before is not None and before.status == condition.status:
        return replace(condition, since=before.since)
    return condition


_Statement = tuple[Truth, str, str]


def _overrule(spoken: dict[str, _Statement], trouble: Trouble) -> dict[str, _Statement]:
    """The troubled condition is False and nothing after it is known, unless an older offer still stands."""
    spoken = dict(spoken)
    spoken[trouble.type] = ("False", trouble.reason, trouble.message)
    return spoken


def _statements(facts: Facts) -> dict[str, _Statement]:
    spoken: dict[str, _Statement] = {}
    if facts.weights:
        spoken["Resolved"] = ("True", "Found", facts.spec.source)
        spoken["Fetched"] = ("True", "InStore", f"weights {facts.weights}")
        spoken["Verified"] = ("True", "DigestMatches", f"weights {facts.weights} match their digest and parse as GGUF")
    elif facts.fetching is not None:
        spoken["Resolved"] = ("True", "Found", facts.spec.source)
        stage, completed, total = facts.fetching
        spoken["Fetched"] = ("False", stage.capitalize(), _progress(completed, total))
    if facts.deployment is not None:
        spoken |= _running(facts, facts.deployment)
    return spoken


def _progress(completed: int, total: int) -> str:
    if not total:
        return f"{show_bytes(completed)} so far"
    return f"{100 * completed // total} % of {show_bytes(total)}"


def _running(facts: Facts, deployment: Deployment) -> dict[str, _Statement]:
    need, budget = facts.budget
    spoken: dict[str, _Statement] = {
        "Fits": ("True", "WithinBudget", f"needs about {show_bytes(need)} of {show_bytes(budget)}")
    }
    if facts.fits is not None:
        spoken["Fits"] = ("False", facts.fits.reason, facts.fits.message)
    elif facts.failure is not None and facts.failure.memory:
        spoken["Fits"] = ("False", "OutOfMemory", facts.failure.reason)
    runner = facts.runner
    if runner is None or runner.state not in {"ready", "draining"}:
        return spoken | _not_loaded(facts, runner)
    spoken["Loaded"] = ("True", "Running", f"pid {runner.pid}, {show_bytes(runner.size)}")
    spoken["Ready"] = _ready(facts.canary, runner)
    spoken["InSync"] = _in_sync(deployment, runner)
    return spoken


def _ready(canary: Verdict, runner: RunnerView) -> _Statement:
    if runner.state == "draining":
        left = f"{runner.requests} requests end on it" if runner.requests else "it is being unloaded"
        return ("False", "Draining", left)
    match canary.status:
        case "pending":
            return ("Unknown", "CanaryPending", canary.message or "it has not answered its first request for one token")
        case "failed":
            return ("False", "CanaryFailed", canary.message)
        case "answered":
            return ("True", "CanaryAnswered", canary.message)
    return ("True", "EngineReady", "the runner said it can serve; canaries are switched off")


def _not_loaded(facts: Facts, runner: RunnerView | None) -> dict[str, _Statement]:
    if runner is not None and runner.state == "loading":
        loaded: _Statement = ("False", "Loading", f"{runner.progress:.0%}")
    elif facts.failure is not None:
        loaded = ("False", "LoadFailed", facts.failure.reason)
    elif facts.last_unload:
        loaded = ("False", "Unloaded", facts.last_unload.removeprefix("unloaded: "))
    elif facts.spec.state == "loaded":
        loaded = ("False", "Waiting", "waiting for its turn to load")
    else:
        loaded = ("False", "Idle", "loads on the first request")
    return {
        "Loaded": loaded,
        "Ready": ("Unknown", "NotLoaded", "nothing to ask"),
        "InSync": ("Unknown", "NotLoaded", ""),
    }


def _in_sync(deployment: Deployment, runner: RunnerView) -> _Statement:
    """Compare what was declared with what the engine said it has."""
    have = runner.readback
    if have is None:
        return ("Unknown", "NoReadBack", "the runner has not reported yet")
    different = differences(deployment, have)
    if different:
        return ("False", "FieldDiff", "; ".join(different))
    sizes = f"context {have.context}, {have.sequences} sequences, {have.kv_cache} cells"
    return ("True", "ReadBackMatches", f"{sizes}, {where(have)}")


def as_declared(spec: ModelSpec, conditions: Mapping[str, Condition]) -> bool:
    """Whether the model is where its spec wants it."""
    if spec.state == "absent":
        return True
    must = ["Resolved", "Fetched", "Verified", "Fits"]
    if spec.state == "loaded":
        must += ["Loaded", "Ready"]
    status = {name: condition.status for name, condition in conditions.items()}
    return all(status.get(name) == "True" for name in must) and status.get("InSync") != "False"
