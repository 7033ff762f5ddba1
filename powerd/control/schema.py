"""What travels on the control socket. `powerctl --json` prints these objects as they are.

Times are seconds since the epoch, sizes bytes, durations seconds.
"""

from __future__ import annotations

import msgspec


class Condition(msgspec.Struct, omit_defaults=True):
    """One statement about a model or the node. `status`: True, False or Unknown."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition: float = 0.0
    observed_generation: int = 0


class Transfer(msgspec.Struct):
    """A fetch under way."""

    completed: int
    total: int  # 0 = not known yet
    rate: float  # bytes a second


class ModelStatus(msgspec.Struct, omit_defaults=True):
    """A declared model: what is wanted, what is there, and why they differ."""

    name: str
    want: dict[str, object]  # state, source, context, parallel, aliases …
    have: dict[str, object]  # digest, pid, context, parallel, state (running | loading | idle | absent) …
    conditions: list[Condition]
    fetching: Transfer | None = None
    next_try: float = 0.0


class Event(msgspec.Struct, omit_defaults=True):
    """Something that happened; the last few hundred are kept."""

    time: float
    kind: str  # config, fetch, load, unload, crash, error …
    model: str
    reason: str
    message: str


class Node(msgspec.Struct):
    """The machine and the daemon."""

    version: str
    pid: int
    uptime: float
    listen: str
    models_file: str
    store: str
    memory_budget: int
    memory_used: int


class Status(msgspec.Struct):
    """`powerctl status --json`."""

    generation: int
    conditions: list[Condition]
    models: list[ModelStatus]
    node: Node
    events: list[Event]
    as_declared: bool  # False makes `powerctl status` exit 1


class RunnerRow(msgspec.Struct, omit_defaults=True):
    """A row of `powerctl ps --json`."""

    model: str
    names: list[str]  # every name this runner serves
    pid: int
    state: str  # loading, ready, draining, stopping
    context: int
    parallel: int
    size: int
    size_vram: int
    expires_at: float | None  # None = never
    requests: int
    queued: int
    digest: str
    device: str
    progress: float = 1.0
    override: str = ""  # who set the keep-alive by hand, if anybody


class WaitRequest(msgspec.Struct, omit_defaults=True):
    """Wait until `condition` is True of `model` (empty: of the node)."""

    condition: str
    model: str = ""
    timeout: float = 60.0


class WaitReply(msgspec.Struct):
    """Whether it came true in time, and the condition as it stood last."""

    met: bool
    condition: Condition


class ApplyRequest(msgspec.Struct, omit_defaults=True):
    """Read models.yaml again now; with `wait`, answer when every model has settled."""

    wait: bool = False
    timeout: float = 60.0


class ApplyReply(msgspec.Struct):
    """`problems` non-empty: the file was refused and the old generation goes on."""

    generation: int
    changed: bool
    settled: bool
    problems: list[str]
    failing: list[str]  # names of models that are not as declared


class ModelRequest(msgspec.Struct, omit_defaults=True):
    """Load or stop one model.

    `hold` (`--for`) is how many seconds the override stands; 0 = until the next request or change.
    """

    model: str
    hold: float = 0.0
    force: bool = False


class ModelUsage(msgspec.Struct):
    """A model's bytes. `alone`: what no other model of our store names, so what deleting it gives back."""

    name: str
    size: int
    alone: int
    where: str
    read_only: bool


class Usage(msgspec.Struct):
    """`powerctl df --json`, in bytes. Our blobs are those of one model alone, `shared` or `unreferenced`."""

    root: str
    models: list[ModelUsage]
    blobs: int
    bytes: int
    shared: int
    unreferenced: int
    leftovers: int
    corrupt: int
    free: int
    quota: int | None
    lower: list[str]


class GcRequest(msgspec.Struct, omit_defaults=True):
    """Delete what nothing has needed for `grace` seconds; `force` lets it be more than max_delete_fraction."""

    grace: float = 0.0
    force: bool = False


class GcReply(msgspec.Struct):
    """The blobs deleted, the bytes that came free, and the manifests (`blocked`) that forbid deleting any."""

    deleted: list[str]
    bytes: int
    blocked: list[str]


class FsckRequest(msgspec.Struct, omit_defaults=True):
    """Check every byte; `repair` moves corrupt blobs away."""

    repair: bool = False


class Finding(msgspec.Struct):
    """One thing fsck found; `harmless`: it takes space, and no model suffers."""

    kind: str
    subject: str
    message: str
    size: int
    models: list[str]
    moved_to: str
    harmless: bool


class FsckReport(msgspec.Struct):
    """`powerctl fsck --json`, and the `report` of the last line of the stream."""

    sound: bool
    blobs: int
    bytes: int
    manifests: int
    findings: list[Finding]


class AdoptRequest(msgspec.Struct, omit_defaults=True):
    """Take over the models of a directory. `how`: lower, link, copy or forget."""

    path: str
    how: str = "lower"


class AdoptReply(msgspec.Struct):
    """`powerctl adopt --json`, and the `adopted` of the last line of the stream."""

    kind: str  # ollama or huggingface
    how: str
    directory: str
    models: list[str]
    skipped: list[str]


class Step(msgspec.Struct, omit_defaults=True):
    """A line of the streams of fsck and adopt: bytes done of `subject`, or the end: a reply or an error."""

    subject: str = ""
    completed: int = 0
    total: int = 0
    report: FsckReport | None = None
    adopted: AdoptReply | None = None
    error: str = ""


class Done(msgspec.Struct):
    """It worked; `message` is what to tell the person."""

    message: str


class Refusal(msgspec.Struct):
    """Every error of the control socket."""

    error: str
    code: str


class DryRunRequest(msgspec.Struct, omit_defaults=True):
    """What a pull of `model` would do."""

    model: str
    insecure: bool = False


class DryRunPiece(msgspec.Struct):
    """One file or layer; `size` is None where it is not known before it is fetched."""

    role: str
    name: str
    size: int | None
    digest: str
    present: bool


class DryRunReply(msgspec.Struct):
    """Where a model would come from, what would be fetched, and whether it would fit here."""

    model: str
    place: str
    failed: list[str]  # why the places asked before did not have it
    files: list[DryRunPiece]
    total: int
    missing: int  # of these still to be fetched
    quantization: str
    memory: int  # bytes it would need loaded; 0 = not known
    budget: int
    fits: bool | None  # None = not known
    unread: str  # why the header could not be read
