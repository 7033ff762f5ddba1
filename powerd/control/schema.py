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
    #: config, fetch, load, ready, unload, crash, error, canary, drift, mended, store; gap: some are no longer kept.
    kind: str
    model: str
    reason: str
    message: str
    number: int = 0  # ascending since the daemon's start, without gaps


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
    config_file: str = ""
    state: str = ""
    socket: str = ""
    engine: str = ""  # the engine's version; "" = not installed


class Device(msgspec.Struct, omit_defaults=True):
    """What the ledger may give out on one device, and has."""

    id: str
    budget: int
    reserved: int
    kind: str = "cpu"  # cpu or gpu
    name: str = ""
    total: int = 0


class LoadFailure(msgspec.Struct, omit_defaults=True):
    """A model whose last load failed."""

    model: str
    reason: str
    at: float
    tries: int  # failures in a row
    next_try: float
    memory: bool = False  # it was memory that was short


class Override(msgspec.Struct, omit_defaults=True):
    """Somebody's hand on a model. `until` None: until the next request or change of its declaration."""

    model: str
    kind: str  # stopped, loaded or keep_alive
    owner: str  # operator (control socket) or client (API)
    message: str
    until: float | None = None


class Hold(msgspec.Struct):
    """A rollback that stands against models.yaml until the file changes."""

    generation: int  # the one that was gone back to
    message: str


class Status(msgspec.Struct):
    """`powerctl status --json`."""

    generation: int
    conditions: list[Condition]
    models: list[ModelStatus]
    node: Node
    events: list[Event]
    as_declared: bool  # False makes `powerctl status` exit 1
    devices: list[Device] = []
    failures: list[LoadFailure] = []
    overrides: list[Override] = []
    hold: Hold | None = None


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
    """Read models.yaml again now; with `wait`, answer when every model has settled.

    `locked`: refuse the file unless every source is in models.lock.yaml.
    """

    wait: bool = False
    timeout: float = 60.0
    locked: bool = False


class ApplyReply(msgspec.Struct):
    """`problems` non-empty: the file was refused and the old generation goes on."""

    generation: int
    changed: bool
    settled: bool
    problems: list[str]
    failing: list[str]  # names of models that are not as declared
    hold: str = ""  # the rollback that stands against the file
    events: list[Event] = []  # what happened since the request came


class ModelRequest(msgspec.Struct, omit_defaults=True):
    """Load or stop one model.

    `hold` (`--for`) is how many seconds the override stands; 0 = until the next request or change.
    """

    model: str
    hold: float = 0.0
    force: bool = False


class Done(msgspec.Struct):
    """It worked; `message` is what to tell the person."""

    message: str


class Refusal(msgspec.Struct):
    """Every error of the control socket."""

    error: str
    code: str
