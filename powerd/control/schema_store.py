"""What travels on the control socket about the store and about pulls. `powerctl --json` prints it as it is.

Sizes are bytes, durations seconds.
"""

from __future__ import annotations

import msgspec


class ModelUsage(msgspec.Struct):
    """A model's bytes. `alone`: what no other model of our store names, so what deleting it gives back."""

    name: str
    size: int
    alone: int
    where: str
    read_only: bool


class Usage(msgspec.Struct):
    """`powerctl df --json`, in bytes. Our blobs are those of one model alone, `shared`, `kept` for rollback or
    `unreferenced`.
    """

    root: str
    models: list[ModelUsage]
    blobs: int
    bytes: int
    shared: int
    kept: int
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


class InstalledModel(msgspec.Struct):
    """A model that is here: what `source:` it would be declared with, and what its name is made of."""

    source: str
    namespace: str
    model: str
    tag: str
    size: int
    about: str  # architecture, number of parameters, quantization


class InstalledReply(msgspec.Struct):
    """What `powerctl init` writes down; `skipped`: what is here and cannot be served, a sentence each."""

    models_file: str
    models: list[InstalledModel]
    skipped: list[str]


class Step(msgspec.Struct, omit_defaults=True):
    """A line of the streams of fsck and adopt: bytes done of `subject`, or the end: a reply or an error."""

    subject: str = ""
    completed: int = 0
    total: int = 0
    report: FsckReport | None = None
    adopted: AdoptReply | None = None
    error: str = ""


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
