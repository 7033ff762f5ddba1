"""The engine's log: figures and reasons out of lines as llama.cpp writes them."""

from __future__ import annotations

import pytest

from powerd.runner.enginelog import DEBUG, ERROR, INFO, WARN, EngineLog, device_of

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


def test_sizes_by_device_and_purpose() -> None:
    told = log(
        "load_tensors:   CPU_Mapped model buffer size =     2.50 MiB",
        "load_tensors:        CUDA0 model buffer size =    10.00 MiB",
        "llama_context:  CUDA_Host  output buffer size =     1.00 MiB",
        "sched_reserve:      CUDA0 compute buffer size =     4.00 MiB",
        "sched_reserve:  CUDA_Host compute buffer size =     2.00 MiB",
    )
    assert told.sizes() == {"cpu": round(5.5 * MIB), "CUDA0": 14 * MIB}
    assert told.sizes("compute", "output") == {"cpu": 3 * MIB, "CUDA0": 4 * MIB}


def test_layers_are_counted_where_they_went_without_the_output_layer() -> None:
    told = log(
        "load_tensors: layer   0 assigned to device CPU, is_swa = 0",
        "load_tensors: layer   1 assigned to device CUDA0, is_swa = 0",
        "load_tensors: layer   2 assigned to device CUDA0, is_swa = 0",
        level=DEBUG,
    )
    assert told.layers(2) == {"cpu": 1, "CUDA0": 1}


@pytest.mark.parametrize(
    ("buffer", "device"),
    [
        ("CPU", "cpu"),
        ("CPU_Mapped", "cpu"),
        ("CPU_REPACK", "cpu"),
        ("AMX", "cpu"),
        ("CUDA_Host", "cpu"),
        ("CUDA1", "CUDA1"),
        ("MTL0_Mapped", "MTL0"),
        ("Vulkan0", "Vulkan0"),
    ],
)
def test_a_buffer_lies_on_a_device(buffer: str, device: str) -> None:
    assert device_of(buffer) == device


@pytest.mark.parametrize(
    ("line", "level", "flash"),
    [
        ("llama_context: flash_attn            = enabled", INFO, True),
        ("llama_context: flash_attn            = disabled", INFO, False),
        ("llama_context: flash_attn            = auto", INFO, False),
        ("resolve_fused_ops: Flash Attention enabled", INFO, True),
        ("resolve_fused_ops: Flash Attention not supported, set to disabled", WARN, False),
    ],
)
def test_flash_attention_is_what_the_context_came_to(line: str, level: int, flash: bool) -> None:
    assert log(line, level=level).flash_attention is flash


def test_why_there_is_no_flash_attention_is_the_first_thing_said() -> None:
    told = log(
        "resolve_fused_ops: layer 0 is assigned to device CUDA0 but Flash Attention is assigned to device CPU "
        "(usually due to missing support)",
        "resolve_fused_ops: Flash Attention not supported, set to disabled",
        level=WARN,
    )
    assert told.without_flash.startswith("layer 0 is assigned to device CUDA0 but Flash Attention is assigned to")


def test_cell_types_and_the_load_mode_are_the_engines_word() -> None:
    told = log(
        "load_tensors: loading model tensors, this can take a while... (load_mode = mmap+mlock)",
        "llama_kv_cache: size =   17.00 MiB ( 16384 cells,   4 layers,  4/1 seqs), K (q8_0):    8.50 MiB, V (q8_0):    "
        "8.50 MiB",
    )
    assert (told.load_mode, told.kv_cache) == ("mlock", "q8_0")
    assert log("llama_kv_cache: size = 1 MiB, K (f16): 1.0 MiB, V (q8_0): 1.0 MiB").kv_cache == "f16/q8_0"
    assert (log().load_mode, log().kv_cache) == ("", "")


def test_memory_that_could_not_be_locked_is_told_with_the_reason() -> None:
    told = log(
        "warning: failed to mlock 557056-byte buffer (after previously locking 0 bytes): Cannot allocate memory",
        level=WARN,
    )
    assert told.unlocked == "557056 bytes: Cannot allocate memory"
    assert log("warning: mlock not supported on this system", level=WARN).unlocked == "mlock not supported"


def test_compute_buffers_are_being_reserved_between_two_lines() -> None:
    told = log("graph_reserve: reserving a graph for ubatch with n_tokens =  512", level=DEBUG)
    assert told.reserving
    told.feed(INFO, "sched_reserve:        CPU compute buffer size =     4.00 MiB")
    assert not told.reserving
