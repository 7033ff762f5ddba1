"""Frames between the daemon and the helper processes that do one kind of job: render, quantize, convert, probe.

They travel as those of `protocol` do, under the same limits, and encode in the same way.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from powerd.protocol import Deployment, Message, Part

# ---------------------------------------------------------------- daemon <-> render helper


class RenderJob(msgspec.Struct, tag=True, omit_defaults=True):
    """Messages and template in; an empty `template` is the generic one."""

    id: int
    messages: tuple[Message, ...]
    template: str = ""
    add_generation_prompt: bool = True
    bos: str = ""
    eos: str = ""
    tools: tuple[dict[str, object], ...] = ()
    variables: dict[str, object] = {}
    think: bool | str | None = None  # reaches the template under the names it reads
    syntax: Literal["jinja", "go"] = "jinja"
    suffix: str = ""  # what follows the gap to be filled; Go templates know it
    lenient: bool = False  # a model's own Jinja: unknown tags are left out, other forms of the conversation tried


class Rendered(msgspec.Struct, tag=True, omit_defaults=True):
    """The text, in at most MAX_FRAME pieces; `last` ends the job, with a note on what was left out of the template."""

    id: int
    text: str
    last: bool = True
    note: str = ""


class RenderFailed(msgspec.Struct, tag=True):
    """The template refused; `message` says why and where."""

    id: int
    message: str


ToRender = RenderJob | Part
FromRender = Rendered | RenderFailed


# ---------------------------------------------------------------- daemon <-> quantize helper


class Quantize(msgspec.Struct, tag=True):
    """The only frame to the helper: write these weights in another type. Names every file it may open."""

    source: str  # absolute path of a checked GGUF
    destination: str  # absolute path, overwritten
    file_type: int  # llama_ftype


class Quantizing(msgspec.Struct, tag=True):
    """The helper has begun with this tensor."""

    tensor: str


class Quantized(msgspec.Struct, tag=True):
    """The destination is complete."""


class QuantizeFailed(msgspec.Struct, tag=True):
    """It cannot be done; `missing` says that there is no engine."""

    reason: str
    missing: bool = False


FromQuantize = Quantizing | Quantized | QuantizeFailed


# ---------------------------------------------------------------- daemon <-> convert helper


class AdaptedModel(msgspec.Struct):
    """The model that an adapter belongs to."""

    architecture: str  # as GGUF names it
    layers: int
    heads: int
    kv_heads: int


class Convert(msgspec.Struct, tag=True):
    """The only frame to the helper: make a GGUF of a checkpoint's files. Names every file it may open."""

    files: dict[str, str]  # absolute paths by the files' names in the checkpoint
    destination: str  # absolute path, overwritten
    base: AdaptedModel | None = None  # the files are a LoRA's, and an adapter is made


class Converting(msgspec.Struct, tag=True):
    """So many bytes of tensors are written; the first frame says 0 and what all will be."""

    done: int
    total: int


class Converted(msgspec.Struct, tag=True):
    """The destination is complete."""


class ConvertFailed(msgspec.Struct, tag=True):
    """It cannot be done; `missing` says that there is no gguf package."""

    reason: str
    missing: bool = False


FromConvert = Converting | Converted | ConvertFailed


# ---------------------------------------------------------------- daemon <-> probe helper


class Accelerator(msgspec.Struct, frozen=True):
    """A device the engine can compute on, besides the CPU."""

    id: str  # CUDA0, Vulkan1, MTL0
    kind: Literal["gpu", "igpu"]
    name: str  # "NVIDIA H100 PCIe"
    pci: str = ""  # domain:bus:device.function, where the engine tells it
    total: int = 0  # bytes
    free: int = 0
    uuid: str = ""  # the vendor's own id; the engine does not tell it


class Probe(msgspec.Struct, tag=True):
    """The only frame to the helper: list the devices, and foretell `deployment` if there is one."""

    deployment: Deployment | None = None


class Probed(msgspec.Struct, tag=True):
    """What the helper found out. Sizes are bytes."""

    engine: str  # as in ReadBack
    accelerators: tuple[Accelerator, ...]
    idle: int  # a process with the engine in it, no model loaded
    process: int = 0  # the same with the model's vocabulary and graphs, without weights, cells and buffers
    compute: dict[str, int] = {}  # compute and output buffers by device id, "cpu" = host memory


class ProbeFailed(msgspec.Struct, tag=True):
    """It cannot be foretold; `missing` says that there is no engine."""

    reason: str
    missing: bool = False


FromProbe = Probed | ProbeFailed
