"""What texts say of the hub."""

from __future__ import annotations

import pytest

from powerd.errors import BadRequest
from powerd.sources.hub.reference import Reference, is_hub, parse, parse_repository


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("hf.co/org/repo", Reference("org/repo")),
        ("huggingface.co/Org/Repo-GGUF", Reference("Org/Repo-GGUF")),
        ("HF.co/org/repo:q4_k_m", Reference("org/repo", quantization="Q4_K_M")),
        ("hf.co/org/repo:fp16", Reference("org/repo", quantization="F16")),
        ("hf.co/org/repo:latest", Reference("org/repo")),
        ("hf.co/org/repo@main:Q8_0", Reference("org/repo", "main", "Q8_0")),
        ("hf://org/repo", Reference("org/repo")),
        ("hf://models/org/repo", Reference("org/repo")),
        ("hf://org/repo@v1.0", Reference("org/repo", "v1.0")),
        ("hf://org/repo@refs/pr/7/a.gguf", Reference("org/repo", "refs/pr/7", path="a.gguf")),
        ("hf://org/repo@refs%2Fpr%2F7/a.gguf", Reference("org/repo", "refs/pr/7", path="a.gguf")),
        ("hf://org/repo/BF16/a b-00001-of-00002.gguf", Reference("org/repo", path="BF16/a b-00001-of-00002.gguf")),
        ("https://huggingface.co/org/repo", Reference("org/repo")),
        ("https://hf.co/org/repo:Q8_0", Reference("org/repo", quantization="Q8_0")),
        ("https://huggingface.co/org/repo/tree/main", Reference("org/repo", "main")),
        ("https://huggingface.co/org/repo/tree/main/Q8_0", Reference("org/repo", "main")),
        (
            "https://huggingface.co/org/repo/blob/main/a%20b.gguf?download=true#x",
            Reference("org/repo", "main", path="a b.gguf"),
        ),
        (
            "https://huggingface.co/org/repo/resolve/refs%2Fpr%2F1/x/a.gguf",
            Reference("org/repo", "refs/pr/1", path="x/a.gguf"),
        ),
    ],
)
def test_texts_of_every_form(text: str, reference: Reference) -> None:
    assert is_hub(text)
    assert parse(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "hf.co",
        "hf.co/org",
        "hf.co//repo",
        "hf.co/org/",
        "hf.co/../repo",
        "hf.co/org/..",
        "hf.co/org/re--po",
        "hf.co/org/repo.git",
        "hf.co/org/repo:",
        "hf.co/org/repo/file.bin",
        "hf.co/org/repo/../x.gguf",
        "hf.co/org/repo/\u202ex.gguf",
        "hf.co/o\u0433g/repo",
        "hf://org/repo@../x/a.gguf",
        "hf://org/repo@a..b",
        "hf://datasets/org/repo",
        "hf://org/repo:Q4/../x",
        "https://huggingface.co/",
        "https://huggingface.co/org/repo/discussions/1",
        "https://huggingface.co/org/repo/blob/main/a%00.gguf",
        "https://huggingface.co/org/repo/blob/main/a%ff.gguf",
        "https://huggingface.co/spaces/org",
        "hf.co/" + "x" * 200 + "/repo",
        "hf.co/org/" + "x" * 5000,
    ],
)
def test_n01_n02_what_is_no_place_on_the_hub(text: str) -> None:
    with pytest.raises(BadRequest):
        parse(text)


@pytest.mark.parametrize(
    "text", ["llama3", "org/repo", "example.com/hf.co/x", "https://example.com/a.gguf", "./hf.co/x"]
)
def test_what_is_not_about_the_hub(text: str) -> None:
    assert not is_hub(text)


def test_a_bare_repository() -> None:
    assert parse_repository("org/Repo:Q8_0") == Reference("org/Repo", quantization="Q8_0")
    for text in ("llama3", "org/repo@v1", "host:5000/org/repo", "org/repo/a.gguf", "datasets/x"):
        assert parse_repository(text) is None, text


def test_a_reference_is_shown_as_it_may_be_written_again() -> None:
    for text in ("hf.co/org/repo", "hf.co/org/repo@v1:Q8_0", "hf://org/repo@v1/x/a.gguf"):
        assert str(parse(text)) == text and parse(str(parse(text))) == parse(text)
