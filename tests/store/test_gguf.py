"""What a sound header says."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from powerd.store.gguf import Header, read_array, read_header
from powerd.store.gguf_types import Array, GgufError
from tests.store.crafted import BOOL, F32, I32, STR, U32, Crafted

DEMO = Path(__file__).parents[2] / "powerd" / "demo" / "tiny-chat-q8_0.gguf"


def header(tmp_path: Path, crafted: Crafted) -> Header:
    path = tmp_path / "model.gguf"
    path.write_bytes(crafted.bytes())
    return read_header(path)


def test_the_demo_model_says_what_it_is() -> None:
    demo = read_header(DEMO)
    demo.check_model()
    assert (demo.architecture, demo.kind, demo.name) == ("llama", "model", "Tiny Demo Chat")
    assert (demo.parameter_count, demo.file_type, demo.layers) == (2_885_888, "Q8_0", 4)
    assert (demo.context_length, demo.embedding_length, demo.vocab) == (1024, 256, 2048)
    assert (demo.bos_text, demo.eos_text, demo.add_bos) == ("<|endoftext|>", "<|im_end|>", False)
    assert demo.pooling_type is None
    assert demo.chat_template is not None
    assert "messages" in demo.chat_template
    shape = demo.shape()
    assert shape.kv_width == 4 * (4 * 32 + 4 * 32)
    assert shape.weights_bytes == sum(tensor.size for tensor in demo.tensors)
    assert shape.trained_context == 1024


def test_the_official_reader_sees_the_same_demo() -> None:
    from gguf import GGUFReader

    theirs, ours = GGUFReader(DEMO), read_header(DEMO)
    assert {field for field in theirs.fields if not field.startswith("GGUF.")} == set(ours.metadata)
    assert [(t.name, t.tensor_type.name, list(t.shape), t.data_offset, t.n_bytes) for t in theirs.tensors] == [
        (t.name, t.type, list(t.shape), t.offset, t.size) for t in ours.tensors
    ]
    for key in ("tokenizer.ggml.merges", "tokenizer.ggml.token_type", "general.tags"):
        array = ours.metadata[key]
        assert isinstance(array, Array)
        assert list(read_array(DEMO, array)) == theirs.fields[key].contents()


def test_a_crafted_model_is_read(tmp_path: Path) -> None:
    crafted = header(tmp_path, Crafted())
    crafted.check_model()
    assert crafted.kv_width == 2 * 2 * (16 + 16)
    assert crafted.parameter_count == 48
    assert (crafted.bos_text, crafted.eos_text, crafted.add_bos) == ("<s>", "</s>", True)
    assert crafted.file_type == "F32"


def test_version_2_is_read(tmp_path: Path) -> None:
    assert header(tmp_path, Crafted(version=2)).version == 2


def test_without_a_file_type_the_commonest_elements_name_the_quantization(tmp_path: Path) -> None:
    assert header(tmp_path, Crafted().drop("general.file_type")).file_type == "Q8_0"
    assert header(tmp_path, Crafted().set("general.file_type", U32, 1024 + 15)).file_type == "Q4_K_M"
    assert header(tmp_path, Crafted().set("general.file_type", U32, 999)).file_type == "Q8_0"


def test_heads_per_layer_count_each_layer(tmp_path: Path) -> None:
    hybrid = Crafted().set_array("llama.attention.head_count_kv", I32, [0, 3])
    assert header(tmp_path, hybrid).kv_width == 3 * 32


def test_key_and_value_lengths_of_their_own(tmp_path: Path) -> None:
    crafted = Crafted().set("llama.attention.key_length", U32, 24).set("llama.attention.value_length", U32, 8)
    assert header(tmp_path, crafted).kv_width == 2 * 2 * 32


def test_heads_without_kv_heads_are_kv_heads(tmp_path: Path) -> None:
    assert header(tmp_path, Crafted().drop("llama.attention.head_count_kv")).kv_width == 2 * 4 * 32


def test_encoders_and_recurrent_models_cache_nothing(tmp_path: Path) -> None:
    assert header(tmp_path, Crafted().set("llama.attention.causal", BOOL, 0)).kv_width == 0
    recurrent = Crafted().set("llama.ssm.state_size", U32, 16).set("llama.attention.head_count", U32, 0)
    assert header(tmp_path, recurrent.drop("llama.attention.head_count_kv")).kv_width == 0


def test_linear_attention_between_full_layers_is_not_counted(tmp_path: Path) -> None:
    crafted = Crafted().set("llama.full_attention_interval", U32, 2)
    assert header(tmp_path, crafted).kv_width == 2 * 32


@pytest.mark.parametrize(
    ("model", "pre", "expected"),
    [("llama", "", True), ("gpt2", "llama-bpe", True), ("gpt2", "qwen2", False), ("t5", "", False), ("bert", "", True)],
)
def test_bos_is_added_where_llama_cpp_would(tmp_path: Path, model: str, pre: str, expected: bool) -> None:
    crafted = Crafted().set("tokenizer.ggml.model", STR, model).set("tokenizer.ggml.pre", STR, pre)
    assert header(tmp_path, crafted).add_bos is expected
    assert header(tmp_path, crafted.set("tokenizer.ggml.add_bos_token", BOOL, not expected)).add_bos is not expected


def test_special_tokens_default_as_in_llama_cpp(tmp_path: Path) -> None:
    crafted = Crafted().drop("tokenizer.ggml.bos_token_id").drop("tokenizer.ggml.eos_token_id")
    assert (header(tmp_path, crafted).bos_text, header(tmp_path, crafted).eos_text) == ("<s>", "</s>")
    other = header(tmp_path, crafted.set("tokenizer.ggml.model", STR, "gpt2"))
    assert (other.bos_text, other.eos_text) == ("", "")


def test_large_arrays_stay_on_disk_until_asked_for(tmp_path: Path) -> None:
    tokens = [f"token-{index}" for index in range(20_000)]
    crafted = Crafted().set_array("tokenizer.ggml.tokens", STR, tokens)
    crafted.set_array("tokenizer.ggml.scores", F32, [0.0] * 20_000)
    crafted.set_array("tokenizer.ggml.token_type", I32, [1] * 20_000)
    seen = header(tmp_path, crafted)
    array = seen.metadata["tokenizer.ggml.tokens"]
    assert isinstance(array, Array)
    assert (array.type, array.count, array.values) == ("STRING", 20_000, None)
    assert list(read_array(tmp_path / "model.gguf", array)) == tokens
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(GgufError, match="truncated GGUF at byte"):
        read_array(tmp_path / "model.gguf", array)


def test_a_vocabulary_of_152_thousand_tokens_is_read_at_once(tmp_path: Path) -> None:
    count = 152_064
    crafted = Crafted().set_array("tokenizer.ggml.tokens", STR, [f"token-{index}" for index in range(count)])
    crafted.set_array("tokenizer.ggml.token_type", I32, [1] * count).drop("tokenizer.ggml.scores")
    crafted.set_array("tokenizer.ggml.merges", STR, [f"a{index} b" for index in range(count)])
    path = tmp_path / "model.gguf"
    path.write_bytes(crafted.bytes())
    began = time.process_time()
    assert read_header(path).vocab == count
    assert time.process_time() - began < 1.0  # 0.1 s on an idle 2-core machine; the bound only catches a slow path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.drop("llama.block_count"), "llama.block_count is missing"),
        (lambda c: c.drop("llama.context_length"), "llama.context_length is missing"),
        (lambda c: c.drop("tokenizer.ggml.model"), "no tokenizer"),
        (lambda c: c.set("split.count", U32, 3), "one part of a model split into 3"),
        (lambda c: c.set("general.type", STR, "mmproj"), "is of type projector"),
        (lambda c: c.set("adapter.type", STR, "lora"), "is of type adapter"),
        (lambda c: c.tensors.clear() or c, "no tensors"),
    ],
)
def test_g13_g16_g18_what_is_no_model_by_itself_says_why(tmp_path: Path, change: object, message: str) -> None:
    assert callable(change)
    sound = header(tmp_path, change(Crafted()))
    with pytest.raises(GgufError, match=message):
        sound.check_model()


def test_s29_only_regular_files_are_read_and_nothing_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("fifo", "directory", "loop", "empty", "socket", "/dev/zero", "/dev/random", "/proc/self/mem"):
            began = time.monotonic()
            with pytest.raises((GgufError, OSError)):
                read_header(tmp_path / name)
            assert time.monotonic() - began < 0.5, name


def test_links_are_followed_only_when_allowed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(DEMO)
    assert read_header(tmp_path / "link").name == "Tiny Demo Chat"
    with pytest.raises(OSError, match="symbolic links"):
        read_header(tmp_path / "link", follow=False)
