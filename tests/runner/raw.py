"""The bare loop over llama.cpp, one greedy sequence: `python -m tests.runner.raw` reads a JSON object and prints one.

In: `model`, `prompt` (text), `tokens` (how many to draw), `context`, `keep` (cells that stay when it is full), `never`
(tokens not to draw), `top` (alternatives). Out: for each token `[id, log-softmax of it, [[id, log-softmax], …]]`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as c


def load(path: str, cells: int) -> tuple[Any, Any]:
    """A context and the vocabulary."""
    c.llama_backend_init()
    model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
    params = c.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.kv_unified = cells, 1, True
    params.n_threads = params.n_threads_batch = 2
    return c.llama_init_from_model(model, params), c.llama_model_get_vocab(model)


def decode(context: Any, tokens: list[int]) -> None:
    """Append tokens to the sequence."""
    array = (c.llama_token * len(tokens))(*tokens)
    assert c.llama_decode(context, c.llama_batch_get_one(array, len(tokens))) == 0


def main(order: dict[str, Any]) -> list[object]:
    """Run the loop."""
    context, vocabulary = load(order["model"], 4096)
    memory, size = c.llama_get_memory(context), c.llama_vocab_n_tokens(vocabulary)
    text = order["prompt"].encode()
    buffer = (c.llama_token * 4096)()
    last = buffer[: c.llama_tokenize(vocabulary, text, len(text), buffer, 4096, True, True)]
    found: list[object] = []
    cells, keep = 0, order["keep"]
    for _ in range(order["tokens"]):
        if cells + len(last) > order["context"] - 1:
            gone = (cells - keep) // 2
            assert c.llama_memory_seq_rm(memory, 0, keep, keep + gone)
            c.llama_memory_seq_add(memory, 0, keep + gone, cells, -gone)
            cells -= gone
        decode(context, last)
        cells += len(last)
        row = np.ctypeslib.as_array(c.llama_get_logits_ith(context, -1), (size,)).astype(np.float64)
        logs = row - row.max() - np.log(np.exp(row - row.max()).sum())
        best = [[int(token), float(logs[token])] for token in np.argsort(-logs)[: order["top"]]]
        row[order["never"]] = -np.inf
        last = [int(row.argmax())]
        found.append([last[0], float(logs[last[0]]), best])
    return found


if __name__ == "__main__":
    quiet = c.llama_log_callback(lambda *_: None)
    c.llama_log_set(quiet, None)
    sys.stdout.write(json.dumps(main(json.load(sys.stdin))))
    sys.stdout.flush()
    os._exit(0)
