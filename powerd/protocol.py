"""Frames between the daemon and its children, and the neutral vocabulary of a request.

A frame is a 4-byte little-endian length followed by that many bytes of MessagePack, at most `MAX_FRAME` (256 KiB: a
10 MiB frame was measured to stall the event loop for 21 ms and a Cancel behind it for 30). Larger bodies travel as
`Part` frames. Each direction is a tagged union: a frame that does not decode is a broken peer, which is killed.
Durations are integer nanoseconds, sizes bytes, times on the monotonic clock unless a field says otherwise.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from powerd.vectors import EMBEDDING_BATCH, EMBEDDING_CONTEXT, Embed, Embedded, Pooling

MAX_FRAME = 256 * 1024
PART_BYTES = 128 * 1024
HEADER = struct.Struct("<I")


# ---------------------------------------------------------------- the neutral request


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call the model made earlier in the conversation; `arguments` is the decoded JSON object."""

    name: str
    arguments: dict[str, object]
    id: str = ""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation, the same for every dialect."""

    role: str
    content: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the next token is chosen; the defaults are Ollama's (contract section 5)."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalize_newline: bool = True
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    seed: int = -1
    logit_bias: dict[int, float] = {}


class Constraint(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an answer must match, or the parts of it that begin with a trigger.

    Without triggers the grammar holds from the first token and its end is the answer's. With them text is free until
    one appears outside of thinking; the trigger is the beginning of what must match, and after the grammar's end text
    is free again, until the next. A triggered grammar that the text has already left is dropped: it must not fail.
    """

    grammar: str  # in llguidance's Lark form
    triggers: tuple[str, ...] = ()
    first: bool = False  # a trigger counts only as the first text of the answer that is neither blank nor thinking
    once: bool = False  # the end of what a trigger began is the end of the answer


class Thinking(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the engine tells thinking from the answer: what opens and closes it, and how long it may be."""

    open: str
    close: str
    inside: bool = False  # the prompt has opened it already
    budget: int = -1  # tokens of thinking after which `ending` is put in the model's mouth; negative = no limit
    ending: str = ""  # the closing text, with the blanks the template puts around it; empty = `close`


class Shape(msgspec.Struct, frozen=True):
    """What the header says of the weights, as far as memory arithmetic needs it."""

    weights_bytes: int
    layers: int
    embedding: int
    kv_width: int  # sum over layers of (k width + v width), in elements per cell
    vocab: int
    trained_context: int
    heads: int = 0  # attention heads of the widest layer
    feed_forward: int = 0  # its inner width, of the experts used together
    input_bytes: int = 0  # the part of the weights that always stays in host memory: the token embeddings
    output_bytes: int = 0  # the output matrix; 0 = the embeddings serve, of which a copy goes with the output layer
    state_bytes: int = 0  # what each sequence holds beside its cells, in recurrent layers
    pooling: str = ""  # how an embedding model joins its tokens: mean, cls, last, rank; "" = it continues text
    causal: bool = True  # a token sees only what comes before it; else an input is computed at one go


class Placement(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which accelerators hold the offloaded layers; nothing said = whatever the machine has."""

    devices: tuple[str, ...] = ()  # ids as the engine lists them; empty = every accelerator
    split: tuple[float, ...] = ()  # each device's share, in their order; empty = by their free memory
    mode: Literal["layer", "row", "none"] = "layer"  # whole layers, rows of each tensor, or one device alone
    main: str = ""  # the device that holds what cannot be split; empty = the first


class Deployment(msgspec.Struct, frozen=True):
    """What a runner process *is*. Names whose deployments have equal `key` share one runner."""

    weights: str  # absolute path of the GGUF
    weights_digest: str  # 64 hex digits
    context: int  # tokens per sequence
    parallel: int  # sequences at once
    shape: Shape
    context_auto: bool = False  # may grow on request, never shrinks
    kv_cache: Literal["f16", "q8_0", "q4_0"] = "f16"
    gpu_layers: int = -1  # -1 as many as the device takes, else a count
    threads: int = 0  # 0 = the runner decides
    batch: int = 512  # tokens computed at once, at most
    load_mode: Literal["auto", "mmap", "read", "mlock"] = "auto"
    flash_attention: Literal["auto", "on", "off"] = "auto"
    placement: Placement = Placement()
    adapters: tuple[tuple[str, str, int], ...] = ()  # LoRA files that requests may choose: digest, path, bytes
    pooling: Pooling | None = None  # how vectors are made, where somebody chose otherwise than the weights say

    @property
    def key(self) -> str:
        """The identity: two deployments with the same key are the same process."""
        context = "auto" if self.context_auto else str(self.context)
        parts = (self.weights_digest, context, self.parallel, self.kv_cache, self.gpu_layers, self.threads)
        rest = (self.batch, self.load_mode, self.flash_attention)
        place = self.placement
        placed = (",".join(place.devices), ",".join(map(str, place.split)), place.mode, place.main)
        said = parts if (*rest, placed) == _PLAIN else (*parts, *rest, *placed)
        name = "/".join(map(str, (*said, self.pooling) if self.pooling else said))
        return "+".join((name, *(digest for digest, _, _ in self.adapters)))

    @property
    def pooled(self) -> Deployment:
        """The sizes of the second context in which a generative model's embeddings are made."""
        small = min(self.context, EMBEDDING_CONTEXT)
        return msgspec.structs.replace(self, context=small, parallel=1, batch=min(EMBEDDING_BATCH, small))


#: What most deployments leave alone; their keys stay short.
_PLAIN = (512, "auto", "auto", ("", "", "layer", ""))


# ---------------------------------------------------------------- daemon -> runner


class Load(msgspec.Struct, tag=True):
    """The first frame: become this deployment. Names every file the runner may open."""

    deployment: Deployment


class Part(msgspec.Struct, tag=True):
    """A slice of a body too large for one frame; slices of one id arrive in order, before the frame that uses them."""

    id: int
    data: bytes


class Generate(msgspec.Struct, tag=True, omit_defaults=True):
    """Continue `prefix` + `prompt` until a stop, the length limit or a Cancel."""

    id: int
    prompt: str = ""
    parts: int = 0  # number of Part frames holding the prompt's UTF-8 instead
    prefix: bytes = b""  # little-endian int32 token ids put before the prompt (Ollama's `context`)
    add_bos: bool = True  # let the tokenizer add what the vocabulary asks for
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    num_predict: int = -1  # tokens; negative = until the context is full
    context: int = 0  # tokens this sequence may use; 0 = the deployment's
    context_source: str = "the model's context"  # where that limit comes from, for the error text
    repeat_limit: int = 30  # identical tokens in a row before the answer is cut; 0 = off (contract section 1.4)
    want_tokens: bool = False  # return all token ids in Finished
    markers: tuple[str, ...] = ()  # control tokens whose text belongs to the answer; all others stay invisible
    constraint: Constraint | None = None
    thinking: Thinking | None = None
    adapters: tuple[tuple[str, float], ...] = ()  # the deployment's LoRA files to apply, by digest, and their scales
    logprobs: int = -1  # alternatives to tell of each token, 0 = the chosen one alone; negative = none of it
    num_keep: int = 0  # tokens at the prompt's beginning that cutting and shifting leave; negative = all of it
    truncate: bool = False  # a prompt that does not fit loses its middle instead of being refused (contract section 6)
    shift: bool = False  # a full context loses its older half and goes on, where the model can do that
    tenant: str = ""
    scheduling_class: str = "interactive"
    deadline: float = 0.0  # seconds from now the answer is still wanted; 0 = no limit
    request_id: str = ""


class Count(msgspec.Struct, tag=True):
    """How many tokens is this text? Answered by Counted, with no place in the batch."""

    id: int  # numbered with the requests
    text: str = ""
    parts: int = 0
    add_bos: bool = True


class Cancel(msgspec.Struct, tag=True):
    """Stop this request; it still gets its one terminal frame."""

    id: int


class Shutdown(msgspec.Struct, tag=True):
    """Finish nothing, free everything, exit 0."""


# ---------------------------------------------------------------- runner -> daemon


class Progress(msgspec.Struct, tag=True):
    """Loading goes on; each one pushes the load deadline out."""

    fraction: float


class DeviceShare(msgspec.Struct, frozen=True):
    """What one device holds of a loaded model."""

    layers: int
    size: int  # bytes of weights, cells and compute buffers


class ReadBack(msgspec.Struct, frozen=True):
    """What the engine really has, read from it after the load."""

    context: int  # tokens per sequence, as enforced by the runner
    cells: int  # the pool, as llama.cpp reports it
    sequences: int
    layers: int
    gpu_layers: int
    kv_cache: str
    flash_attention: bool
    threads: int
    vocab: int
    trained_context: int
    engine: str  # "llama.cpp via llama-cpp-python X"
    device: str  # "cpu" or the devices' names
    rss: int  # bytes resident after the load
    size: int  # bytes of weights, cells and compute together, as far as the engine tells
    size_gpu: int  # the part of `size` on accelerators
    pss: int = 0  # bytes this process is the cause of (shared pages counted by part); 0 where the system does not say
    batch: int = 0
    load_mode: str = ""
    adapters: tuple[str, ...] = ()  # digests of the LoRA files that are loaded
    pooling: str = ""  # how its own context makes vectors; empty = that one continues text
    devices: dict[str, DeviceShare] = {}  # by the engine's device id, "cpu" among them


class Ready(msgspec.Struct, tag=True):
    """The runner can serve."""

    have: ReadBack
    load_ns: int


class LoadFailed(msgspec.Struct, tag=True):
    """The load failed; the runner exits after this frame."""

    reason: str
    out_of_memory: bool = False


class Likely(msgspec.Struct, array_like=True):
    """A token the model might have chosen, and how likely it was before any sampling setting."""

    token: bytes  # its text; what it holds of a character may be incomplete
    logprob: float  # natural logarithm


class Logprob(msgspec.Struct, array_like=True):
    """The token that was chosen, and the likeliest ones, best first."""

    token: bytes
    logprob: float
    top: list[Likely] = []


class Row(msgspec.Struct, array_like=True):
    """New text of one request; `text` never ends inside a UTF-8 character or a possible stop string."""

    id: int
    text: str
    tokens: int  # tokens this text stands for
    logprobs: list[Logprob] = []  # one for each of these tokens, when asked for


class Delta(msgspec.Struct, tag=True):
    """What one step produced, for all requests at once."""

    rows: list[Row]


class Cut(msgspec.Struct, tag=True):
    """The prompt did not fit and has lost its middle; comes before the request's first Row."""

    id: int
    needed: int  # tokens the prompt had; of a very long one at least, its middle was not counted
    kept: int  # tokens it has
    limit: int
    limit_source: str


class Counted(msgspec.Struct, tag=True):
    """The answer to Count."""

    id: int
    tokens: int


class Finished(msgspec.Struct, tag=True, omit_defaults=True):
    """The terminal frame of a request that went well. `reason`: stop, length, repeat or cancel."""

    id: int
    reason: Literal["stop", "length", "repeat", "cancel"]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    prompt_ns: int = 0
    output_ns: int = 0
    stop_text: str = ""  # the stop string that matched
    tokens: bytes = b""  # little-endian int32 ids of prompt and answer, when asked for
    shifted: int = 0  # tokens that shifting dropped from the context


class Failed(msgspec.Struct, tag=True, omit_defaults=True):
    """The terminal frame of a request that went wrong. `code` is that of a PowerError."""

    id: int
    code: str
    message: str = ""
    needed: int = 0  # context_overflow: tokens of the prompt
    limit: int = 0  # context_overflow: tokens available
    limit_source: str = ""


class Stats(msgspec.Struct, tag=True):
    """The engine's gauges; sent at most every 200 ms while busy and once when it falls idle."""

    cells_used: int
    cells_total: int
    running: int
    waiting: int
    batch_rows: int  # sequences in the last decode
    batch_rows_max: int  # the most since the previous Stats
    decode_ns: int  # sum over all steps
    steps: int
    prompt_tokens: int  # sums since the load
    output_tokens: int


ToRunner = Load | Part | Generate | Embed | Count | Cancel | Shutdown
FromRunner = Progress | Ready | LoadFailed | Delta | Cut | Counted | Finished | Embedded | Failed | Stats


def encode(frame: msgspec.Struct) -> bytes:
    """One frame, length prefix included. Raises ValueError when it passes MAX_FRAME."""
    body = msgspec.msgpack.encode(frame)
    if len(body) > MAX_FRAME:
        raise ValueError(f"{type(frame).__name__} frame of {len(body)} bytes passes the limit of {MAX_FRAME}")
    return HEADER.pack(len(body)) + body
