"""The bare loop: `python -m tests.bench.raw MODEL STREAMS TOKENS` prints tokens per second as JSON.

The fewest lines of Python over llama.cpp that generate STREAMS answers at once: no text, no scheduling, no requests.
It is the yardstick; powerd's figure is divided by it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from llama_cpp import llama_cpp as c

from tests.bench.prompts import prompt

CONTEXT = 2048
PROMPT_WORDS = 100


def load(path: str, streams: int) -> tuple[Any, Any]:
    """A context for `streams` sequences and the vocabulary, with the settings powerd uses."""
    c.llama_backend_init()
    model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
    params = c.llama_context_default_params()
    params.n_ctx = CONTEXT * streams
    params.n_batch = params.n_ubatch = 512
    params.n_seq_max = params.n_outputs_max = streams
    params.n_threads = params.n_threads_batch = len(os.sched_getaffinity(0))
    params.kv_unified = True
    return c.llama_init_from_model(model, params), c.llama_model_get_vocab(model)


def sampler(seed: int) -> Any:
    """top-k 40, top-p 0.9, temperature 0.8."""
    chain = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_k(40))
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_p(0.9, 1))
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_temp(0.8))
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_dist(seed))
    return chain


def put(batch: Any, token: int, position: int, sequence: int, output: bool) -> None:
    """Append one token to the batch."""
    row = batch.n_tokens
    batch.token[row], batch.pos[row], batch.logits[row] = token, position, output
    batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequence
    batch.n_tokens = row + 1


def prefill(context: Any, vocabulary: Any, batch: Any, chains: list[Any]) -> tuple[list[int], list[int]]:
    """Decode every sequence's prompt; the first token of each, and the positions that follow."""
    first, positions = [], []
    for sequence, chain in enumerate(chains):
        text = prompt(PROMPT_WORDS, sequence).encode()
        buffer = (c.llama_token * CONTEXT)()
        count = c.llama_tokenize(vocabulary, text, len(text), buffer, CONTEXT, False, True)
        batch.n_tokens = 0
        for position in range(count):
            put(batch, buffer[position], position, sequence, position == count - 1)
        assert c.llama_decode(context, batch) == 0
        first.append(c.llama_sampler_sample(chain, context, count - 1))
        positions.append(count)
    return first, positions


def main(path: str, streams: int, tokens: int) -> None:
    """Generate and time."""
    quiet = c.llama_log_callback(lambda *_: None)
    c.llama_log_set(quiet, None)
    context, vocabulary = load(path, streams)
    chains = [sampler(seed + 1) for seed in range(streams)]
    batch = c.llama_batch_init(512, 0, 1)
    last, positions = prefill(context, vocabulary, batch, chains)
    begun = time.perf_counter()
    for step in range(tokens):
        batch.n_tokens = 0
        for sequence in range(streams):
            put(batch, last[sequence], positions[sequence] + step, sequence, True)
        assert c.llama_decode(context, batch) == 0
        last = [c.llama_sampler_sample(chain, context, row) for row, chain in enumerate(chains)]
    took = time.perf_counter() - begun
    sys.stdout.write(
        json.dumps({"tok_s": round(streams * tokens / took, 2), "step_ms": round(1e3 * took / tokens, 3)}) + "\n"
    )
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
