"""Plan: what taking over a file will do, foretold by the steps the reconciler itself would take. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from powerd.catalog.changes import changes
from powerd.catalog.fields import ChangeClass
from powerd.catalog.show import spec_to_dict
from powerd.catalog.spec import ModelSpec
from powerd.digest import Digest
from powerd.fleet.terms import Forecast, Move
from powerd.reconcile.step import Fetch, Fetched, Have, Settled, Step, step, taken

Action = Literal["create", "adopt", "update", "repair", "remove", "refuse", "none"]

#: From what touches least to what touches most.
_WEIGHT: Mapping[str, int] = {"": 0, "live": 1, "reload": 2, "replace": 3, "daemon": 4}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that the file says otherwise than the accepted generation; values as `status` shows them."""

    name: str
    change: ChangeClass
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class FilePiece:
    """One file or layer of a source; `size` is None where it is not known before it is fetched."""

    role: str
    name: str
    size: int | None
    digest: str
    present: bool


@dataclass(frozen=True, slots=True)
class Fetching:
    """What a fetch will bring. With a `problem` the source did not say, and nothing else is known."""

    place: str = ""
    missing: int = 0  # bytes that are not here yet
    total: int = 0
    files: tuple[FilePiece, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Deletion:
    """Something that will be deleted, and when."""

    what: Literal["manifest", "blobs"]
    bytes: int
    when: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """What will happen to one model. `steps` are the reconciler's own, in order."""

    name: str
    action: Action
    change: str  # the class of the change: live, reload, replace, daemon; empty: nothing changes
    steps: tuple[str, ...]
    fields: tuple[FieldChange, ...] = ()
    fetch: Fetching | None = None
    memory: Mapping[str, int] = field(default_factory=dict)  # bytes by device once it is loaded
    memory_before: Mapping[str, int] = field(default_factory=dict)  # bytes by device it holds at this moment
    measured: str = ""  # how `memory` is known: measured, probed, header; empty: it is not
    drains: int = 0  # requests that run on what will be replaced, and finish first
    deletes: tuple[Deletion, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What taking over a file will do to this machine. With `problems` it is refused, and nothing happens."""

    generation: int  # the accepted one
    following: int  # the one it will be; the same when nothing new is accepted
    file: str
    hold: str = ""
    problems: tuple[str, ...] = ()
    models: tuple[ModelPlan, ...] = ()
    moves: tuple[Move, ...] = ()
    budget: Mapping[str, int] = field(default_factory=dict)  # by device, as the next two
    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)
    waiting: tuple[tuple[str, str], ...] = ()
    deletes: tuple[Deletion, ...] = ()  # of no one model: what only a forgotten generation needed
    warnings: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything at all will happen."""
        doing = any(model.action not in {"none", "refuse"} or model.fields for model in self.models)
        return bool(doing or self.moves or self.deletes or self.following != self.generation)


# ---------------------------------------------------------------- one model


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Where one model is bound: the steps it takes, and what it is made of in the end."""

    steps: tuple[Step, ...]
    end: Have

    @property
    def fetches(self) -> bool:
        """Whether a source is asked."""
        return any(isinstance(one, Fetch) for one in self.steps)

    @property
    def weights(self) -> Digest | None:
        """What it will be served from; None when it is withdrawn."""
        return self.end.composed.fetched.weights if self.end.composed and self.end.offered else None


def foresee(spec: ModelSpec | None, have: Have, brought: Fetched) -> Foreseen:
    """Play the reconciler's steps to their end; `brought` is what a fetch would bring."""
    steps: list[Step] = []
    while not isinstance(following := step(spec, have), Settled):
        if following in steps:
            break  # a fetch that would bring what is not asked for: it is refused there
        steps.append(following)
        have = taken(spec, have, following, brought)
    return Foreseen(tuple(steps), have)


def field_changes(old: ModelSpec | None, new: ModelSpec | None) -> tuple[FieldChange, ...]:
    """The fields that differ, with both values; of a text that is only told of, that it changed."""
    if old is None or new is None:
        return ()
    before, after = spec_to_dict(old), spec_to_dict(new)
    return tuple(
        FieldChange(name, change, before.get(name), after.get(name)) for name, change in changes(old, new).items()
    )


def action(
    old: ModelSpec | None, new: ModelSpec | None, have: Have, foreseen: Foreseen, fetch: Fetching | None
) -> Action:
    """What to call it."""
    gone = new is None or new.state == "absent"
    if not foreseen.steps:
        return "none" if old is not None or gone else "create"
    if gone:
        return "remove"
    if have.composed is None and have.offered is None and (old is None or old.state == "absent"):
        here = fetch is not None and bool(fetch.files) and all(one.digest and one.present for one in fetch.files)
        return "adopt" if here or not foreseen.fetches else "create"
    return "repair" if have.lost and old == new else "update"


def change_class(fields: Sequence[FieldChange], foreseen: Foreseen, *, moves: bool, same: bool = False) -> str:
    """The class of all of it: the heaviest of the fields', or what the steps come to where no field changed.

    `same`: the process that serves it is what it was before, whatever a field asks for in other words.
    """
    found = max((one.change for one in fields), key=lambda change: _WEIGHT[change], default="")
    if foreseen.fetches:
        return max(found, "replace", key=lambda change: _WEIGHT[change])
    if foreseen.steps and not found:
        return "reload" if moves else "live"
    return "live" if found == "reload" and same else found


def step_names(foreseen: Foreseen) -> tuple[str, ...]:
    """The steps as they are printed: fetch, compose, offer, withdraw."""
    return tuple({"makeoffer": "offer"}.get(name := type(one).__name__.lower(), name) for one in foreseen.steps)


def drained(moves: Sequence[Move], key: str | None) -> int:
    """Requests that finish on what a model runs on before it goes."""
    return sum(move.requests for move in moves if move.kind == "unload" and move.key == key)


def totals(forecast: Forecast) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes promised by device, before and after; a device that is in one is in both."""
    devices = dict.fromkeys((*forecast.before, *forecast.after))
    return (
        {device: forecast.before.get(device, 0) for device in devices},
        {device: forecast.after.get(device, 0) for device in devices},
    )
