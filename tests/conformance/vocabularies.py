"""The vocabularies of llama.cpp's source distribution: its texts tokenised by our runner, as its own tests expect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from powerd.runner.llama import Bindings
from powerd.runner.vocabulary import Vocabulary

#: What stands between two texts of an `.inp` file.
SEPARATOR = "\n__ggml_vocab_test__\n"


def compare(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Vocabulary, number of texts, and what is unexpected of one of them ("" = nothing)."""
    bindings = Bindings()
    for inputs in sorted(folder.glob("*.gguf.inp")):
        texts = inputs.read_bytes().decode().split(SEPARATOR)
        expected = inputs.with_suffix(".out").read_text().split("\n")
        wanted = [[int(token) for token in line.split()] for line in expected[: len(texts)]]
        made = _tokens(bindings, inputs.with_suffix(""), texts)
        wrong = next((at for at, pair in enumerate(zip(made, wanted, strict=True)) if pair[0] != pair[1]), None)
        what = "" if wrong is None else f"{texts[wrong]!r} becomes {made[wrong]}, not {wanted[wrong]}"
        yield inputs.name.removesuffix(".gguf.inp"), len(texts), what


def _tokens(bindings: Bindings, path: Path, texts: list[str]) -> list[list[int]]:
    c = bindings.c
    params = c.llama_model_default_params()
    params.vocab_only = True
    model = c.llama_model_load_from_file(str(path).encode(), params)
    try:
        vocabulary = Vocabulary(c, model, 512)
        return [vocabulary.tokenize(text.encode(), False, 1 << 16)[0] for text in texts]
    finally:
        c.llama_model_free(model)
