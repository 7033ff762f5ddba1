"""Diff: each field three times: what the file says, what was accepted, and what is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from powerd.catalog.show import spec_to_dict
from powerd.catalog.spec import Catalog, ModelSpec
from powerd.fleet.terms import RunnerView
from powerd.protocol import Deployment
from powerd.reconcile.entry import Entry
from powerd.reconcile.readback import differences


@dataclass(frozen=True, slots=True)
class Row:
    """One field. `pending`: the file says something else than was accepted; `drift`: what is does."""

    model: str
    field: str
    file: object
    accepted: object
    actual: object
    kind: Literal["pending", "drift", "same"]


def diff(
    catalog: Catalog,
    entries: Mapping[str, Entry],
    runner: Callable[[Entry], RunnerView | None],
    *,
    running: bool = True,
) -> list[Row]:
    """Every field that somebody wrote or that differs, of every model; the order of the file, then what it dropped.

    Unless `running`, no daemon is there, and that nothing is loaded is no drift.
    """
    rows: list[Row] = []
    for name in dict.fromkeys((*catalog.models, *entries)):
        entry = entries.get(name)
        accepted = entry.want if entry is not None and entry.withdraw_at is None else None
        if name not in catalog.models or accepted is None:
            rows.append(_only(name, name in catalog.models, accepted is not None, entry))
            continue
        actual = _actual(entry, runner(entry)) if entry is not None else {}
        drifted = _drifted(entry, runner(entry), running) if entry is not None else {}
        rows += _rows(name, _said(catalog.models.get(name)), _said(accepted), actual, drifted)
    return rows


def _only(name: str, in_file: bool, accepted: bool, entry: Entry | None) -> Row:
    """A model that not every column has: one row for all of it."""
    there = entry is not None and entry.offer is not None
    said = ["declared" if one else "not declared" for one in (in_file, accepted)]
    kind: Literal["pending", "drift"] = "drift" if in_file == accepted else "pending"
    return Row(name, "model", said[0], said[1], "there" if there else "not there", kind)


def _said(spec: ModelSpec | None) -> dict[str, object]:
    return spec_to_dict(spec) if spec is not None else {}


def _rows(
    name: str,
    file: Mapping[str, object],
    accepted: Mapping[str, object],
    actual: Mapping[str, object],
    drifted: Mapping[str, str],
) -> list[Row]:
    rows = []
    for field in dict.fromkeys((*file, *accepted, *actual)):
        texts = file.get(field), accepted.get(field), actual.get(field)
        if texts[0] != texts[1]:
            rows.append(Row(name, field, *texts, "pending"))
        elif field in drifted:
            rows.append(Row(name, field, texts[0], texts[1], drifted[field], "drift"))
        else:
            rows.append(Row(name, field, *texts, "same"))
    return rows


def _actual(entry: Entry, view: RunnerView | None) -> dict[str, object]:
    """What is: of what is loaded as the engine reads it back, else as it is offered."""
    if entry.offer is None or entry.offered_spec is None:
        return {"state": "absent"}
    served = _said(entry.offered_spec)
    served |= _planned(entry.offer.deployment)
    served["state"] = _state(view)
    served["source"] = f"sha256:{entry.offer.stored.weights_digest.hex}"
    if view is not None and view.readback is not None:
        have = view.readback
        served |= {"context": have.context, "parallel": have.sequences, "kv_cache": have.kv_cache}
        served |= {"gpu_layers": have.gpu_layers}
    return served


def _state(view: RunnerView | None) -> str:
    if view is None:
        return "available"
    return "loaded" if view.state == "ready" else view.state


def _planned(deployment: Deployment) -> dict[str, object]:
    return {
        "context": deployment.context,
        "parallel": deployment.parallel,
        "kv_cache": deployment.kv_cache,
        "gpu_layers": "auto" if deployment.gpu_layers < 0 else deployment.gpu_layers,
    }


def _drifted(entry: Entry, view: RunnerView | None, running: bool) -> dict[str, str]:
    """The fields whose actual value is not what was accepted, with what it is."""
    want = entry.want
    if want is None:
        return {}
    found: dict[str, str] = {}
    if want.state != "absent" and entry.offer is None:
        found["state"] = f"not there: {entry.trouble.message}" if entry.trouble else "not there yet"
    elif running and want.state == "loaded" and (view is None or view.state != "ready"):
        found["state"] = view.state if view is not None else "not loaded"
    if entry.offered_spec is not None and entry.offered_spec != want:
        said, served = _said(want), _said(entry.offered_spec)
        found |= {field: str(served.get(field)) for field in said if said[field] != served.get(field)}
    if view is not None and view.readback is not None and entry.offer is not None:
        for phrase in differences(entry.offer.deployment, view.readback):
            field, _, told = phrase.partition(": ")
            found[field] = told
    return found
