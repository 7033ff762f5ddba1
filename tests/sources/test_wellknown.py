"""The built-in list of well-known models."""

from __future__ import annotations

import pytest

from powerd.names import Name
from powerd.sources.hub.files import acceptable, label
from powerd.sources.hub.reference import Reference, parse
from powerd.sources.wellknown import MODELS, well_known


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("llama3.2:3b", "hf://bartowski/Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf"),
        ("llama3.2", "hf://bartowski/Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf"),
        ("Llama3.2:1B", "hf://bartowski/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q4_K_M.gguf"),
        ("llama3.2:3b-instruct-q8_0", "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q8_0"),
        ("qwen2.5:7b-instruct", "hf://bartowski/Qwen2.5-7B-Instruct-GGUF/Qwen2.5-7B-Instruct-Q4_K_M.gguf"),
        ("gemma3:4b-it-fp16", "hf.co/bartowski/google_gemma-3-4b-it-GGUF:F16"),
        ("registry.ollama.ai/library/phi4:latest", "hf://bartowski/phi-4-GGUF/phi-4-Q4_K_M.gguf"),
        ("nomic-embed-text:v1.5", "hf://nomic-ai/nomic-embed-text-v1.5-GGUF/nomic-embed-text-v1.5.Q8_0.gguf"),
    ],
)
def test_names_of_the_list(name: str, reference: str) -> None:
    assert str(well_known(Name.parse(name))) == reference


@pytest.mark.parametrize(
    "name", ["llama3.2:9b", "nobody", "someone/llama3.2", "example.com/library/llama3.2", "phi4:x-y"]
)
def test_names_that_are_not_in_it(name: str) -> None:
    assert well_known(Name.parse(name)) is None


def test_every_entry_could_be_written_by_hand() -> None:
    for model, tags in MODELS.items():
        for tag, (repo, file) in tags.items():
            assert Name.parse(f"{model}:{tag}").model == model == model.lower()
            assert parse(f"hf://{repo}/{file}") == Reference(repo, path=file)
            assert acceptable(file) and label(file)
