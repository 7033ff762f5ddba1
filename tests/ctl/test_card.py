from __future__ import annotations

from powerd.ctl.card import card
from powerd.ctl.terminal import Style

SHOWN = {
    "details": {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
    "model_info": {
        "general.architecture": "llama",
        "general.parameter_count": 3_212_749_888,
        "llama.context_length": 131072,
        "llama.embedding_length": 3072,
        "tokenizer.ggml.tokens": ["a", "b", "c", "d", "e"],
        "tokenizer.ggml.merges": None,
    },
    "capabilities": ["completion", "tools"],
    "parameters": 'stop                           "<|end of turn|>"\ntemperature                    0.2',
    "system": "You are careful.\n\nYou are short.\nYou are kind.",
    "license": "MIT\nCopyright",
    "tensors": [{"name": "output.weight", "type": "F16", "shape": [8, 16]}],
}


def test_the_blocks_are_ollamas() -> None:
    assert card(SHOWN, Style(), verbose=False) == [
        "  Model",
        "    architecture        llama",
        "    parameters          3.2B",
        "    context length      131072",
        "    embedding length    3072",
        "    quantization        Q4_K_M",
        "",
        "  Capabilities",
        "    completion",
        "    tools",
        "",
        "  Parameters",
        '    stop           "<|end of turn|>"',
        "    temperature    0.2",
        "",
        "  System",
        "    You are careful.",
        "    You are short.",
        "    ...",
        "",
        "  License",
        "    MIT",
        "    Copyright",
        "",
    ]


def test_verbose_adds_metadata_and_tensors() -> None:
    lines = card(SHOWN, Style(), verbose=True)
    assert "    tokenizer.ggml.tokens      [a, b, c, … 2 more]" in lines
    assert "    tokenizer.ggml.merges      […]" in lines
    assert "    output.weight    F16    [8, 16]" in lines


def test_the_parameter_count_stands_in_for_a_missing_size() -> None:
    shown = {"model_info": SHOWN["model_info"], "details": {"parameter_size": ""}}
    assert "    parameters          3.2B" in card(shown, Style(), verbose=False)


def test_a_projector_has_its_block() -> None:
    info = {"general.architecture": "clip", "general.parameter_count": 4 * 10**8, "clip.vision.embedding_length": 1024}
    assert card({"projector_info": info}, Style(), verbose=False) == [
        "  Projector",
        "    architecture        clip",
        "    parameters          400.00M",
        "    embedding length    1024",
        "",
    ]


def test_an_answer_with_odd_parts_is_survived() -> None:
    assert card({"model_info": None, "details": 5, "parameters": 7, "tensors": None}, Style(), verbose=True) == []
