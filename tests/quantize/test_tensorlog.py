from __future__ import annotations

from powerd.quantize.tensorlog import TensorLog
from powerd.runner.enginelog import ERROR, INFO


def test_each_tensor_is_told_as_its_work_begins() -> None:
    told: list[str] = []
    log = TensorLog(told.append)
    for line in (
        "[   4/  20] blk.0.attn_norm.weight               - [   256,      1,      1,      1], type =    f32,",
        "size =    0.001 MiB",
        "[1234/1234] output.weight - [ 256, 4096, 1, 1], type = f16,",
        "converting to q4_K ..",
        "llama_model_quantize_impl: model size  =     3.25 MiB (16.01 BPW)",
    ):
        log.feed(INFO, line)
    assert told == ["blk.0.attn_norm.weight", "output.weight"]


def test_errors_are_kept_for_the_reason() -> None:
    log = TensorLog(lambda _name: None)
    log.feed(ERROR, "llama_model_quantize: failed to quantize: requantizing from type q8_0 is disabled")
    assert log.reason() == "failed to quantize: requantizing from type q8_0 is disabled"
