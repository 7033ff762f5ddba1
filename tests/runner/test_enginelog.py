"""The engine's log: figures and reasons out of lines as llama.cpp writes them."""

from __future__ import annotations

from powerd.runner.enginelog import ERROR, INFO, WARN, EngineLog

MIB = 1 << 20


def log(*lines: str, level: int = INFO) -> EngineLog:
    made = EngineLog()
    for line in lines:
        made.feed(level, line)
    return made


def test_sizes_are_summed_and_told_apart_by_device() -> None:
    told = log(
        "load_tensors:   CPU_Mapped model buffer size =     2.50 MiB",
        "load_tensors:        CUDA0 model buffer size =    10.00 MiB",
        "llama_kv_cache:      CUDA0 KV buffer size =    16.00 MiB",
        "llama_context:  CUDA_Host  output buffer size =     1.00 MiB",
        "sched_reserve:        CPU compute buffer size =     4.00 MiB",
    )
    assert told.size == round(33.5 * MIB)
    assert told.size_gpu == 26 * MIB


def test_placement_is_read() -> None:
    told = log(
        "llama_model_load_from_file_impl: using device CUDA0 (NVIDIA H100) (0000:01:00.0) - 79000 MiB free",
        "load_tensors: offloaded 32/33 layers to GPU",
        "print_info: max token length      = 256",
        "resolve_fused_ops: Flash Attention enabled",
    )
    assert told.devices == ["CUDA0 (NVIDIA H100)"]
    assert told.gpu_layers == 32
    assert told.longest_token == 256
    assert told.flash_attention


def test_the_reason_is_the_engines_own_and_names_no_function() -> None:
    told = log(
        "llama_model_load: error loading model: tensor 'output.weight' data is not within the file bounds",
        "llama_model_load_from_file_impl: failed to load model",
        level=ERROR,
    )
    assert told.reason() == "tensor 'output.weight' data is not within the file bounds"
    assert not told.out_of_memory


def test_a_failed_allocation_is_told_apart() -> None:
    told = log("alloc_tensor_range: failed to allocate CUDA0 buffer of size 1073741824", level=ERROR)
    assert told.out_of_memory


def test_warnings_speak_only_when_there_is_no_error() -> None:
    told = log("llama_context: careful", level=WARN)
    assert told.reason() == "careful"
    told.feed(ERROR, "llama_context: broken")
    assert told.reason() == "broken"


def test_silence_is_admitted() -> None:
    assert log().reason() == "llama.cpp gave no reason"
