"""The parameters of native contexts. `c` is the ctypes layer of llama-cpp-python."""

from __future__ import annotations

from typing import Any

from powerd.protocol import Deployment
from powerd.runner.batch import set_fields
from powerd.vectors import Pooling

#: Sequences of a context without cells, at least: short inputs share a batch.
_PACKED = 16


def usual(c: Any, deployment: Deployment, threads: int, *, pools: bool, causal: bool) -> Any:
    """Of a model's own context. `pools`: it makes vectors. Not `causal`: it has no cells, and takes inputs whole."""
    params = _params(c, deployment, threads)
    parallel, batch = deployment.parallel, deployment.batch
    if pools and deployment.pooling:
        _choose(c, params, deployment.pooling)
    if not pools:
        cells = deployment.context * parallel
        _size(params, cells, max(batch, parallel), batch, sequences=parallel, outputs=parallel)
    elif causal:
        _pool(params, deployment.context * parallel, batch, parallel)
    else:
        rows, sequences = max(batch, deployment.context), max(parallel, _PACKED)
        _pool(params, deployment.context * sequences, rows, sequences)
        set_fields(params, type_k=c.GGML_TYPE_F16, type_v=c.GGML_TYPE_F16)  # another would need flash attention
    return params


def second(c: Any, small: Deployment, threads: int, sequences: int) -> Any:
    """Of the context that pools beside a generative model's own, by the mean unless somebody chose."""
    params = _params(c, small, threads)
    _pool(params, small.context, small.batch, sequences)
    _choose(c, params, small.pooling or "mean")
    return params


def _params(c: Any, deployment: Deployment, threads: int) -> Any:
    kind = getattr(c, f"GGML_TYPE_{deployment.kv_cache.upper()}")
    off = deployment.flash_attention == "off"
    params = c.llama_context_default_params()
    set_fields(
        params,
        n_threads=threads,
        n_threads_batch=threads,
        flash_attn_type=getattr(c, f"LLAMA_FLASH_ATTN_TYPE_{'DISABLED' if off else 'AUTO'}"),
        type_k=kind,
        type_v=kind,
        kv_unified=True,
        swa_full=False,
    )
    return params


def _choose(c: Any, params: Any, pooling: Pooling) -> None:
    set_fields(params, pooling_type=getattr(c, f"LLAMA_POOLING_TYPE_{pooling.upper()}"))


def _pool(params: Any, cells: int, rows: int, sequences: int) -> None:
    """Every token is an output."""
    _size(params, cells, rows, rows, sequences=sequences, outputs=rows)
    set_fields(params, embeddings=True)


def _size(params: Any, cells: int, batch: int, rows: int, *, sequences: int, outputs: int) -> None:
    set_fields(params, n_ctx=cells, n_batch=batch, n_ubatch=rows, n_seq_max=sequences, n_outputs_max=outputs)
