"""What travels on the control socket about plans, generations and locks. `powerctl --json` prints it as it is.

Times are seconds since the epoch, sizes bytes.
"""

from __future__ import annotations

import msgspec


class PlanRequest(msgspec.Struct, omit_defaults=True):
    """Foretell what another file would do: `text`, as if it stood in models.yaml's place.

    With `text` null the files as they are; `locked` refuses sources that are not in models.lock.yaml.
    """

    text: str | None = None
    locked: bool = False


class PlanField(msgspec.Struct):
    """A field that differs, and the class of that change: live, reload, replace or daemon."""

    name: str
    change: str
    before: object
    after: object


class PlanFile(msgspec.Struct):
    """One file or layer of a source; `size` is null where it is not known before it is fetched."""

    role: str
    name: str
    size: int | None
    digest: str
    present: bool


class PlanFetch(msgspec.Struct):
    """What is fetched, in bytes: `missing` of `total`. With `problem` the source did not say what it has."""

    place: str
    missing: int
    total: int
    files: list[PlanFile]
    problem: str


class PlanDelete(msgspec.Struct):
    """A manifest, or bytes of blobs, that will be deleted, and when."""

    what: str
    bytes: int
    when: str
    model: str


class PlanModel(msgspec.Struct):
    """What will happen to one model.

    `action`: create, adopt (all of it is here already), update, repair, remove, refuse or none. `change`: the heaviest
    class among its changes. `steps`: fetch, compose, offer, withdraw. `memory`: bytes by device once it is loaded;
    `measured` says how they are known: measured, probed or header. `drains`: requests that finish on the old runner.
    """

    name: str
    action: str
    change: str
    steps: list[str]
    fields: list[PlanField]
    fetch: PlanFetch | None
    memory: dict[str, int]
    memory_before: dict[str, int]
    measured: str
    drains: int
    deletes: list[PlanDelete]
    warnings: list[str]


class PlanMove(msgspec.Struct):
    """A load or unload, in the order they happen; `bytes` by device, `requests` that end first."""

    kind: str
    model: str
    reason: str
    why: str
    bytes: dict[str, int]
    requests: int


class PlanDevice(msgspec.Struct):
    """Bytes promised on one device before and after."""

    id: str
    budget: int
    before: int
    after: int


class PlanWaiting(msgspec.Struct):
    """A model that is wanted in memory and will not be loaded."""

    model: str
    why: str


class PlanReply(msgspec.Struct):
    """`powerctl plan --json`. `problems`: the file is refused, and nothing happens. `hold`: so does a rollback."""

    changes: bool
    generation: int
    following: int  # the number of the generation it will be
    file: str
    hold: str
    problems: list[str]
    models: list[PlanModel]
    moves: list[PlanMove]
    devices: list[PlanDevice]
    waiting: list[PlanWaiting]
    deletes: list[PlanDelete]
    warnings: list[str]


class DiffRow(msgspec.Struct):
    """One field of one model, three times: in the file, in the accepted generation, and as it is.

    `kind`: pending (the file says something else), drift (what is differs from what was accepted) or same.
    """

    model: str
    field: str
    file: object
    accepted: object
    actual: object
    kind: str


class DiffReply(msgspec.Struct):
    """`powerctl diff --json`."""

    changes: bool
    generation: int
    file: str
    hold: str
    problems: list[str]
    rows: list[DiffRow]


class HistoryModel(msgspec.Struct, omit_defaults=True):
    """What one model of a generation resolved to; empty digests: that never became known."""

    name: str
    source: str
    digest: str = ""  # of what was fetched
    weights: str = ""  # of what is served: another where it was quantized here
    manifest: str = ""
    quantization: str = ""
    revision: str = ""
    present: bool = False  # whether it can be served again without asking its source


class Generation(msgspec.Struct, omit_defaults=True):
    """An accepted generation: `powerctl history --json` prints a list of them, newest first."""

    number: int
    accepted_at: float
    reason: str
    declared: int  # models it declares
    models: list[HistoryModel]  # those of them that resolved to something
    changed: list[str]  # against the one before: +name, -name, ~name (fields)
    accepted: bool = False
    held: bool = False
    problem: str = ""


class RollbackRequest(msgspec.Struct, omit_defaults=True):
    """Serve generation `to` again; 0 = the one before."""

    to: int = 0
    wait: bool = False
    timeout: float = 60.0


class RollbackReply(msgspec.Struct):
    """The new generation that does as the old one did."""

    generation: int
    of: int
    message: str
    settled: bool
    failing: list[str]


class UpdateRequest(msgspec.Struct, omit_defaults=True):
    """Ask the sources of these models (none named: all) whether they moved; unless `check`, fetch what did."""

    models: list[str] = []
    check: bool = False


class UpdateRow(msgspec.Struct, omit_defaults=True):
    """`state`: current, moved, updated or unknown; `message` is a sentence."""

    model: str
    source: str
    state: str
    message: str
    have: str = ""
    there: str = ""


class LockReply(msgspec.Struct):
    """The text of models.lock.yaml for the accepted generation, where it belongs, and the models without an entry."""

    path: str
    text: str
    locked: list[str]
    unresolved: list[str]
