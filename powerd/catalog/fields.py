"""The fields of a model in models.yaml, version powerd/v1: one table, from which everything said of a field comes.

Reading and checking an entry, the nearest name for a mistyped key, the reserved names, what a change costs, the table
in docs/models-yaml.md and the plan all walk FIELDS. ModelSpec holds a field's value in its `attribute`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from powerd.catalog import values
from powerd.catalog.loader import Node
from powerd.catalog.placement import placement
from powerd.catalog.sampling import parameters
from powerd.catalog.spec import Adapter
from powerd.catalog.template import template
from powerd.catalog.values import Reader, Reading, choice, flag, items, mapping, reads, text, whole_number, words

API_VERSION = "powerd/v1"

#: live: swapped in, nothing restarts. reload: the runners concerned drain and start again. replace: bytes are fetched
#: and verified beside the old, then reload. daemon: only a restart of powerd takes it up; no field of v1 is one.
ChangeClass = Literal["live", "reload", "replace", "daemon"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: how it is written, what it means, what changing it costs."""

    name: str
    kind: str  # the values it takes, for people
    default: str  # as it would be written; empty: none
    change: ChangeClass
    doc: str  # one sentence
    read: Reader | None = None  # None: reserved, refused by name
    in_defaults: bool = True
    never_default: str = ""  # the one value that cannot hold for every model
    not_yet: str = ""  # a sentence, where this version reads the field and cannot do all it asks
    held_as: str = ""  # ModelSpec's attribute, where the name cannot be one

    @property
    def available(self) -> bool:
        """Whether this version takes the field at all."""
        return self.read is not None

    @property
    def attribute(self) -> str:
        """ModelSpec's attribute that holds the value."""
        return self.held_as or self.name


_ROLES = words("system", "user", "assistant")
_MESSAGES = items(mapping({"role": _ROLES, "content": text}, required=("role", "content")))
_ADAPTER = mapping({"source": values.source, "scale": values.number, "digest": values.digest}, required=("source",))
_ADAPTERS = items(_ADAPTER)
_DRAFT = mapping({"source": values.source}, required=("source",))


@reads(_MESSAGES.schema)
def _messages(node: Node, reading: Reading) -> tuple[tuple[str, str], ...]:
    return tuple((each.get("role"), each.get("content")) for each in _MESSAGES(node, reading))


@reads(_ADAPTERS.schema)
def _adapters(node: Node, reading: Reading) -> tuple[Adapter, ...]:
    written = _ADAPTERS(node, reading)
    return tuple(Adapter(one.get("source", ""), one.get("scale", 1.0), one.get("digest")) for one in written)


@reads(_DRAFT.schema)
def _draft(node: Node, reading: Reading) -> str | None:
    named: dict[str, str] = _DRAFT(node, reading)
    return named.get("source")


_MAX = 2**31 - 1
_THINK: Mapping[str | bool, bool | str | None] = MappingProxyType(
    {"auto": None, True: True, False: False, "low": "low", "medium": "medium", "high": "high", "max": "max"}
)
_SOURCE = "An Ollama name, `hf.co/user/repo`, an `https://` address, a file path, a Modelfile or `builtin:demo`"

_RESERVED = (
    Field("engine", "llama", "llama", "reload", "Which engine runs the model."),
    Field("share_prefix", "true, false", "", "live", "Whether cached prefixes serve all keys."),
    Field("snapshots", "{enabled, quota}", "", "live", "Cached prefixes kept on disk."),
    Field("cost", "{input, output}", "", "live", "What its tokens count for in reports."),
    Field("projector", "source", "", "replace", "The weights that read images."),
    Field("hidden", "true, false", "", "live", "Whether listings leave it out."),
)

_AVAILABLE = (
    Field(
        "source",
        "text",
        "",
        "replace",
        f"{_SOURCE}; required unless `state: absent`.",
        values.source,
        in_defaults=False,
    ),
    Field("quantization", "text", "", "replace", "Which of a source's files to take, for example `Q4_K_M`.", text),
    Field(
        "digest",
        "sha256:…",
        "",
        "replace",
        "The SHA-256 the weights must have; anything else is refused.",
        values.digest,
        in_defaults=False,
    ),
    Field(
        "state",
        "loaded, available, absent",
        "available",
        "live",
        "Whether it is kept in memory while it fits (`loaded`), loaded on demand (`available`) or removed (`absent`).",
        words("loaded", "available", "absent"),
        never_default="absent",
    ),
    Field(
        "gpu_layers",
        "auto, all, 0..n",
        "auto",
        "reload",
        "How many layers the GPUs take; `0` keeps the model on the CPU.",
        whole_number(0, _MAX, {"auto": None, "all": "all"}),
    ),
    Field(
        "context",
        "auto, 1..2147483647",
        "auto",
        "reload",
        "Tokens that one sequence may hold; a number is kept to, `auto` may grow once for a request that needs more.",
        whole_number(1, _MAX, {"auto": None}),
    ),
    Field(
        "parallel",
        "auto, 1..256",
        "auto",
        "reload",
        "Sequences that run at once, each with the whole `context`.",
        whole_number(1, 256, {"auto": None}),
    ),
    Field(
        "kv_cache",
        "auto, f16, q8_0, q4_0",
        "auto",
        "reload",
        "The type of the attention cache's cells; `auto` is `f16` unless powerd.yaml says otherwise, smaller types "
        "halve or quarter its memory.",
        choice({"auto": None, "f16": "f16", "q8_0": "q8_0", "q4_0": "q4_0"}),
    ),
    Field(
        "placement",
        "{devices, split: layer or row or none or list of numbers, main}",
        "{}",
        "reload",
        "Which accelerators hold the offloaded layers, how they are shared out, and which one holds what cannot be.",
        placement,
    ),
    Field(
        "threads",
        "auto, 1..512",
        "auto",
        "reload",
        "Threads that compute a step on the processor; `auto` is one for each core it may use, one for a tiny model.",
        whole_number(1, 512, {"auto": None}),
    ),
    Field(
        "batch",
        "auto, 1..65536",
        "auto",
        "reload",
        "Tokens computed at once, at most: more of them read long prompts faster and take more memory.",
        whole_number(1, 65536, {"auto": None}),
    ),
    Field(
        "load_mode",
        "auto, mmap, read, mlock",
        "auto",
        "reload",
        "How the weights come into memory: mapped from the file (`mmap`), copied (`read`), or mapped and kept there "
        "(`mlock`).",
        words("auto", "mmap", "read", "mlock"),
    ),
    Field(
        "flash_attention",
        "auto, true, false",
        "auto",
        "reload",
        "Whether attention is computed in one fused step; `auto` leaves it to the engine and the device.",
        choice({"auto": None, True: True, False: False}),
    ),
    Field(
        "pooling",
        "auto, mean, cls, last",
        "auto",
        "reload",
        "Which vector of its tokens stands for a text in embeddings: their mean, the first one's (`cls`) or the last "
        "one's; `auto` is what the weights say, and the mean where they do not.",
        choice({"auto": None, "mean": "mean", "cls": "cls", "last": "last"}),
    ),
    Field(
        "request_options",
        "auto, declared, grow, reject",
        "auto",
        "live",
        "What is done with a request for a longer context: served as `declared`, `grow` once, or refused (`reject`); "
        "`auto` is `declared` with a number as `context`, else `grow`.",
        choice({"auto": None, "declared": "declared", "grow": "grow", "reject": "reject"}),
    ),
    Field(
        "class",
        "interactive, batch",
        "interactive",
        "live",
        "How its requests queue: people are waiting for `interactive` ones, `batch` ones give way up to a bound.",
        words("interactive", "batch"),
        held_as="scheduling_class",
    ),
    Field(
        "keep_alive",
        "duration, seconds, 0, always",
        "5m",
        "live",
        "How long it stays loaded when idle; `0` unloads at once, `always` is never unloaded nor evicted.",
        values.keep_alive,
    ),
    Field(
        "priority",
        "-1000..1000",
        "0",
        "live",
        "Which model goes first when memory or places are short; higher is kept longer.",
        whole_number(-1000, 1000),
    ),
    Field(
        "aliases",
        "list of names",
        "[]",
        "live",
        "Further names clients may use; a missing tag means `latest`.",
        values.aliases,
        in_defaults=False,
    ),
    Field(
        "overflow",
        "dialect, reject, truncate, shift",
        "dialect",
        "live",
        "What is done with a prompt that does not fit: `dialect` cuts it on Ollama's routes and says so, else refuses.",
        words("dialect", "reject", "truncate", "shift"),
    ),
    Field(
        "require",
        "{gpu: true, full_offload: true}",
        "{}",
        "live",
        "What must be true of the running model, else it is refused instead of served degraded.",
        mapping({"gpu": flag, "full_offload": flag}),
    ),
    Field(
        "think",
        "auto, true, false, low, medium, high, max",
        "auto",
        "live",
        "Whether and how much the model thinks when the request is silent.",
        choice(_THINK),
    ),
    Field("system", "text", "", "live", "The system message when the request brings none.", text),
    Field(
        "template",
        "text, {file}, {text, syntax: jinja or go}",
        "",
        "live",
        "The chat template; it wins over the model's own.",
        template,
    ),
    Field(
        "parameters",
        "mapping of sampling options",
        "{}",
        "live",
        "Ollama's sampling options, for requests that do not set them; runner options have fields of their own.",
        parameters,
    ),
    Field(
        "messages",
        "list of {role: system or user or assistant, content}",
        "[]",
        "live",
        "Messages that stand before every conversation.",
        _messages,
    ),
    Field(
        "adapters",
        "list of {source, scale, digest}",
        "[]",
        "reload",
        "LoRA adapters; `scale` is 1 when it is left out and changes live, `digest` is the SHA-256 the file must have.",
        _adapters,
        in_defaults=False,
    ),
    Field(
        "draft",
        "{source}",
        "",
        "reload",
        "A smaller model that drafts tokens for this one to check.",
        _draft,
        in_defaults=False,
        not_yet="a `draft` model is not available yet",
    ),
)

#: Every field of v1 by name, the reserved ones last.
FIELDS: Mapping[str, Field] = MappingProxyType({field.name: field for field in (*_AVAILABLE, *_RESERVED)})
