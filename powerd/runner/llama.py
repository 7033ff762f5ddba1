"""llama.cpp through llama-cpp-python's ctypes layer: the only import of it, thin and typed.

Every native call here lets other Python threads run while it works. Nothing native outlives `Model.close`, except the
log callback, which llama.cpp may call at any time.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from powerd.jobs import Accelerator
from powerd.protocol import Deployment, Generate
from powerd.runner.adapters import AdapterFailed, Adapters, AdapterSet
from powerd.runner.backends import NoSuchDevice, listed, placed
from powerd.runner.batch import Batch, set_fields
from powerd.runner.chain import chain
from powerd.runner.contexts import second, usual
from powerd.runner.enginelog import ERROR, WARN, EngineLog
from powerd.runner.likelihood import Likelihood
from powerd.runner.memory import Commitment, lock_limit, may_lock_all
from powerd.runner.pooling import KINDS, RANK
from powerd.runner.shifting import can_shift
from powerd.runner.token import Sampler
from powerd.runner.vocabulary import Vocabulary
from powerd.vectors import Pooling

_MAX_SEQUENCES = 256
_MAX_CELLS = 2**31 - 1
_FATAL = -2
_LOAD_MODES = {"auto": "AUTO", "mmap": "MMAP", "read": "NONE", "mlock": "MMAP_MLOCK"}
#: How long a compute thread spins at a barrier before it sleeps, in turns of some 20 ns. OpenMP's own 300,000 outlasts
#: a time slice: with one other busy process on 2 cores a step took 25 times as long, with this twice as long.
_SPINS = "2000"
#: Bytes of tensor rows held at once while quantizing; llama.cpp's own default is 8 GiB.
_QUANTIZE_BUFFER = 512 << 20

_log = logging.getLogger("powerd.runner.llama")


class EngineMissing(Exception):
    """llama-cpp-python is not installed, or its native library does not load."""


class EngineFailed(Exception):
    """The engine refused the load; `out_of_memory` tells whether an allocation failed."""

    def __init__(self, reason: str, *, out_of_memory: bool = False) -> None:
        super().__init__(reason)
        self.out_of_memory = out_of_memory


class EngineBroken(Exception):
    """The engine's state is undefined after a failed decode: the process must end."""


class Bindings:
    """The C interface, the engine's version, and the log that runs through one callback."""

    def __init__(self) -> None:
        """Load the native library. Raises EngineMissing."""
        package = _package()
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
        try:
            from llama_cpp import llama_cpp as c  # noqa: PLC0415  # fails where the engine is not installed
        except (ImportError, OSError, RuntimeError) as error:
            raise EngineMissing(f"llama-cpp-python does not load: {error}") from error
        self.c: Any = c
        self.version = _version(package)
        self.log = EngineLog()
        self._commitment = Commitment()
        self._callback = self.c.llama_log_callback(self._on_log)
        _kept_for_life.append(self._callback)
        self.c.llama_log_set(self._callback, None)
        self.c.llama_backend_init()

    def _on_log(self, level: int, text: bytes, _data: object) -> None:
        line = text.decode(errors="replace").rstrip()
        self.log.feed(level, line)
        self._commitment.switch(self.log.reserving)
        if level in (WARN, ERROR):
            _log.log(logging.WARNING if level == WARN else logging.ERROR, line)

    def committed(self) -> None:
        """A context was made or was not: nothing more is filled."""
        self.log.reserving = False
        self._commitment.switch(False)

    @property
    def engine(self) -> str:
        """The engine and its version, for people and as a key."""
        return f"llama.cpp via llama-cpp-python {self.version}"

    def accelerators(self) -> list[Accelerator]:
        """What the engine can offload to, in its order."""
        return [accelerator for _, accelerator in listed(self.c)]


#: llama.cpp keeps the pointer to its log callback until the process ends.
_kept_for_life: list[object] = []


def _package() -> ModuleType:
    """llama_cpp's package, entered without running its `__init__`.

    That imports the high-level interface with numpy, jinja2 and a disk cache: 0.3 s and 23 MB nothing here uses.
    """
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise EngineMissing("llama-cpp-python is not installed")
    return sys.modules.setdefault("llama_cpp", importlib.util.module_from_spec(spec))


def _version(package: ModuleType) -> str:
    """The version as the package's own `__init__` states it; reading the installed metadata takes 50 ms."""
    text = Path(package.__path__[0], "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    return found[1] if found else "unknown"


def quantize(bindings: Bindings, source: str, destination: str, file_type: int, threads: int) -> None:
    """Write the weights of the file `source` to `destination` as `file_type`, a llama_ftype.

    The call can be neither watched nor stopped from inside: the log names each tensor it begins with, and a process
    that is killed stops (pitfall 23). Raises EngineFailed.
    """
    params = bindings.c.llama_model_quantize_default_params()
    set_fields(params, ftype=file_type, nthread=threads, allow_requantize=False, max_buf_size=_QUANTIZE_BUFFER)
    if bindings.c.llama_model_quantize(source.encode(), destination.encode(), ctypes.byref(params)):
        raise EngineFailed(bindings.log.reason(), out_of_memory=bindings.log.out_of_memory)


class Model:
    """One model and one context on it."""

    def __init__(
        self,
        bindings: Bindings,
        deployment: Deployment,
        threads: int,
        on_progress: Callable[[float], bool],
        *,
        dry: bool = False,
    ) -> None:
        """Load the weights and make the context. `on_progress` gets 0..1 and returns whether to go on.

        `dry`: nothing is read beyond the header and nothing allocated; the log tells what would be. Raises
        EngineFailed.
        """
        self._bindings, self._c = bindings, bindings.c
        self._context: Any = None
        bindings.log.made = False
        self._dry = dry
        self.deployment = deployment
        self._threads = threads
        self._model = self._load_model(deployment, on_progress)
        self.causal, self.pooling = self._kind()
        try:
            self._refuse_other_kinds()
            self._adapters = self._load_adapters()
            self._context = self._make_context(deployment)
        except EngineFailed:
            self.close()
            raise
        bindings.log.made = True
        self._memory = self._c.llama_get_memory(self._context)
        self.vocabulary = Vocabulary(bindings.c, self._model, bindings.log.longest_token)
        self.batch = Batch(bindings.c, int(self._c.llama_n_batch(self._context)))
        #: Whether a sequence can lose what is not at its end.
        self.can_shift = not self.recurrent and can_shift(
            self._c, self._model, self._memory, self._metadata, deployment.kv_cache
        )

    def _kind(self) -> tuple[bool, Pooling | None]:
        """Whether a token sees only what comes before it, and how tokens are joined; None = it continues text."""
        architecture = self._metadata("general.architecture")
        causal = self._metadata(f"{architecture}.attention.causal") != "false"
        said = self._metadata(f"{architecture}.pooling_type")
        return causal, KINDS.get(said, "mean") if said or not causal else None

    def _load_model(self, deployment: Deployment, on_progress: Callable[[float], bool]) -> Any:
        path = deployment.weights
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise EngineFailed(f"{path}: {error.strerror}") from error
        params = self._c.llama_model_default_params()
        callback = self._c.llama_progress_callback(lambda fraction, _data: on_progress(fraction))
        mode = "read" if self._dry else deployment.load_mode
        set_fields(
            params,
            n_gpu_layers=deployment.gpu_layers,
            progress_callback=callback,
            load_mode=getattr(self._c, f"LLAMA_LOAD_MODE_{_LOAD_MODES[mode]}"),
            no_alloc=self._dry,
        )
        try:
            fields, alive = placed(self._c, deployment.placement)
        except NoSuchDevice as error:
            raise EngineFailed(str(error)) from error
        set_fields(params, **fields)
        if mode == "mlock":
            may_lock_all()
        model = self._c.llama_model_load_from_file(path.encode(), params)
        del alive  # what the parameters point to
        if not model:
            raise self._failed()
        self._refuse_unlocked(model)
        return model

    def _refuse_unlocked(self, model: Any) -> None:
        """Raises EngineFailed when the weights should have been locked in memory and are not."""
        if self._bindings.log.unlocked:
            self._c.llama_model_free(model)
            raise EngineFailed(
                f"load_mode: mlock was refused by the system for {self._bindings.log.unlocked}; "
                f"raise its limit on locked memory (RLIMIT_MEMLOCK, here {lock_limit()}; LimitMEMLOCK= in systemd)"
            )

    def _refuse_other_kinds(self) -> None:
        """Raises EngineFailed for a model that can neither continue text nor make vectors."""
        architecture = self._metadata("general.architecture")
        if self._metadata(f"{architecture}.pooling_type") == RANK:
            raise EngineFailed("this is a reranking model; powerd serves generative and embedding models")
        if self._c.llama_model_has_encoder(self._model) or not self._c.llama_model_has_decoder(self._model):
            raise EngineFailed(f"{architecture} models have an encoder; only decoder-only models are supported")
        if self._c.llama_model_is_diffusion(self._model):
            raise EngineFailed(f"{architecture} is a diffusion model; only autoregressive models are supported")
        if self._c.llama_vocab_n_tokens(self._c.llama_model_get_vocab(self._model)) == 0:
            raise EngineFailed("the file has no vocabulary")

    def _load_adapters(self) -> Adapters:
        """The deployment's LoRA files; a dry model has none. Raises EngineFailed."""
        try:
            return Adapters(self._c, self._model, () if self._dry else self.deployment.adapters)
        except AdapterFailed as error:
            failed = self._failed()
            raise EngineFailed(f"adapter {error}: {failed}", out_of_memory=failed.out_of_memory) from error

    def _metadata(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(256)
        length = self._c.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode(errors="replace") if length >= 0 else ""

    def _make_context(self, deployment: Deployment) -> Any:
        cells = deployment.context * deployment.parallel
        if not 0 < deployment.parallel <= _MAX_SEQUENCES or not 0 < cells <= _MAX_CELLS:
            raise EngineFailed(
                f"{deployment.parallel} sequences of {deployment.context} tokens are out of range: "
                f"1 to {_MAX_SEQUENCES} sequences, {_MAX_CELLS} tokens in all"
            )
        params = usual(self._c, deployment, self._threads, pools=bool(self.pooling), causal=self.causal)
        context = self._new_context(params)
        self._refuse_without_flash(deployment, context)
        return context

    def _new_context(self, params: Any) -> Any:
        context = self._c.llama_init_from_model(self._model, params)
        self._bindings.committed()
        if not context:
            raise self._failed()
        return context

    def second_context(self, small: Deployment, sequences: int) -> Any:
        """A context that pools, on the same weights, for the caller to free. Raises EngineFailed."""
        params = second(self._c, small, self._threads, sequences)
        return self._new_context(params)

    def _refuse_without_flash(self, deployment: Deployment, context: Any) -> None:
        """Raises EngineFailed when flash attention was asked for and the engine does without.

        It is always asked for as `auto`: told to use it, llama.cpp does not look whether the device can.
        """
        log = self._bindings.log
        if deployment.flash_attention == "on" and not log.flash_attention:
            self._c.llama_free(context)
            raise EngineFailed(f"flash_attention: on cannot be had: {log.without_flash or 'llama.cpp switched it off'}")

    def _failed(self) -> EngineFailed:
        log = self._bindings.log
        return EngineFailed(log.reason(), out_of_memory=log.out_of_memory)

    def warm_up(self) -> None:
        """Decode a token, with all adapters and with none: the weights are in memory before the first request."""
        self._c.llama_set_warmup(self._context, True)
        for adapters in dict.fromkeys((tuple((digest, 1.0) for digest in self.adapters), ())):
            self.apply(adapters)
            self.batch.clear()
            self.batch.add(self.vocabulary.bos or 0, 0, 0)
            self.decode()
            self.forget(0)
        self._c.llama_set_warmup(self._context, False)

    @property
    def adapters(self) -> tuple[str, ...]:
        """The digests of the LoRA files that are loaded."""
        return self._adapters.digests

    def apply(self, adapters: AdapterSet, context: Any = None) -> str:
        """Have the next batches of `context` computed with these adapters alone. Empty, or why that cannot be."""
        applied = self._adapters.apply(context or self._context, adapters)
        return "" if applied else "its adapters could not be applied"

    def decode(self) -> str:
        """Compute the batch. Empty, or why it could not be: the cache is then as before. Raises EngineBroken."""
        struct = self.batch.struct
        struct.n_tokens = self.batch.size
        code = self._c.llama_decode(self._context, struct)
        if code == 0:
            return ""
        if code <= _FATAL:
            raise EngineBroken(f"llama_decode failed with {code}: {self._bindings.log.reason()}")
        return "the cache has no room for the batch" if code == 1 else f"llama_decode refused the batch with {code}"

    def forget(self, slot: int) -> None:
        """Free every cell of `slot`."""
        self._c.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def drop(self, slot: int, begin: int, count: int) -> bool:
        """Free `count` cells of `slot` from the one at `begin`; the later ones move up. Whether that could be done."""
        if not self._c.llama_memory_seq_rm(self._memory, slot, begin, begin + count):
            return False
        self._c.llama_memory_seq_add(self._memory, slot, begin + count, -1, -count)
        return True

    def sampler(self, frame: Generate, prompt: list[int], context: int) -> Sampler:
        """What chooses the tokens of one request."""
        return chain(self._c, self._context, self.vocabulary.size, frame.sampling, prompt, context)

    def probabilities(self, top: int) -> Likelihood:
        """What tells how likely the tokens of one request were, and the `top` likeliest."""
        return Likelihood(self.logits, self.vocabulary.size, self.vocabulary.text, top)

    def logits(self, row: int) -> Any:
        """A C pointer to the floats of `row` of the last decode, one for each token; writing to them is allowed."""
        return self._c.llama_get_logits_ith(self._context, row)

    @property
    def recurrent(self) -> bool:
        """Whether a sequence has a state of a fixed size, which holds all of its text."""
        return bool(self._c.llama_model_is_recurrent(self._model) or self._c.llama_model_is_hybrid(self._model))

    @property
    def native(self) -> tuple[Any, Any]:
        """The ctypes layer and the context."""
        return self._c, self._context

    @property
    def cells(self) -> int:
        """The pool's size as llama.cpp made it."""
        return int(self._c.llama_n_ctx(self._context))

    @property
    def sequences(self) -> int:
        """Sequences the context has room for."""
        return int(self._c.llama_n_seq_max(self._context))

    @property
    def threads(self) -> int:
        """Threads that compute."""
        return int(self._c.llama_n_threads(self._context))

    @property
    def computed_at_once(self) -> int:
        """Tokens computed at once, at most."""
        return int(self._c.llama_n_ubatch(self._context))

    @property
    def layers(self) -> int:
        """Repeating layers of the model."""
        return int(self._c.llama_model_n_layer(self._model))

    @property
    def trained_context(self) -> int:
        """Tokens the model was trained on."""
        return int(self._c.llama_model_n_ctx_train(self._model))

    @property
    def size(self) -> int:
        """Bytes of weights, cells and compute buffers."""
        return self._bindings.log.size or int(self._c.llama_model_size(self._model))

    def close(self) -> None:
        """Free the context and the weights."""
        if self._context:
            self._c.llama_free(self._context)
            self._context = None
        self._c.llama_model_free(self._model)
