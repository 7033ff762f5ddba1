"""Which files of a listing are the model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.errors import BadRequest
from powerd.sources.hub.files import Choice, Listed, acceptable, choose, label


def pick(names: list[str], quantization: str = "", path: str = "") -> Choice:
    return choose([Listed(name) for name in names], quantization, path, "hf.co/org/repo")


def chosen(names: list[str], quantization: str = "", path: str = "") -> list[str]:
    return [file.path for file in pick(names, quantization, path).weights]


def refusal(names: list[str], quantization: str = "", path: str = "") -> str:
    with pytest.raises(BadRequest) as caught:
        pick(names, quantization, path)
    return caught.value.message


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Llama-3.2-3B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("llama-2-7b-chat.Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "Q4_K_M"),
        ("qwen2.5-7b-instruct-fp16.gguf", "F16"),
        ("Qwen3-8B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("Model.i1-IQ2_XXS.gguf", "IQ2_XXS"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("gemma-3-4b-it-q4_0.gguf", "Q4_0"),
        ("model-Q4_0_4_8.gguf", "Q4_0_4_8"),
        ("BF16/Model-BF16-00001-of-00002.gguf", "BF16"),
        ("Q4_K_M/model-00001-of-00003.gguf", "Q4_K_M"),
        ("model_q8_0.gguf", "Q8_0"),
        ("Model-Q6_K_L-imat.gguf", "Q6_K_L"),
        ("TriLM-TQ2_0.gguf", "TQ2_0"),
        ("Qwen3-8B-Q5_K_M.gguf", "Q5_K_M"),
        ("model.gguf", ""),
        ("FAQ4you.gguf", ""),
    ],
)
def test_the_quantization_a_file_name_says(path: str, expected: str) -> None:
    assert label(path) == expected


MANY = ["README.md", "m-Q2_K.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-f16.gguf", "imatrix.gguf", "m.safetensors"]


def test_by_quantization_in_any_case() -> None:
    assert chosen(MANY, "q8_0") == ["m-Q8_0.gguf"]
    assert chosen(MANY, "FP16") == ["m-f16.gguf"]
    assert pick(MANY, "Q2_K").quantization == "Q2_K"


def test_the_default_order() -> None:
    assert chosen(MANY) == ["m-Q4_K_M.gguf"]
    assert chosen(["m-Q2_K.gguf", "m-Q8_0.gguf", "m-F16.gguf"]) == ["m-Q8_0.gguf"]
    assert chosen(["m-Q2_K.gguf"]) == ["m-Q2_K.gguf"], "one model needs no choice"
    assert "say which quantization to take; there are m-IQ1_S.gguf, m-Q2_K.gguf" in refusal(
        ["m-Q2_K.gguf", "m-IQ1_S.gguf"]
    )


def test_none_is_an_error_that_lists_what_there_is_and_how_to_make_one() -> None:
    message = refusal(MANY, "Q5_K_M")
    assert "there is no Q5_K_M; there are m-Q2_K.gguf, m-Q4_K_M.gguf, m-Q8_0.gguf, m-f16.gguf." in message
    assert "hf://ORG/REPO/file.gguf" in message
    assert "imatrix" not in message


def test_several_are_an_error_that_lists_them() -> None:
    assert "2 files are Q8_0: a-Q8_0.gguf, b-Q8_0.gguf" in refusal(["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0")
    assert "and 5 more" in refusal([f"{n:02d}-Q8_0.gguf" for n in range(25)], "Q8_0")


def test_a_dynamic_quantization_answers_to_its_plain_name_only_where_that_is_free() -> None:
    assert chosen(["m-UD-Q4_K_XL.gguf", "m-Q8_0.gguf"], "Q4_K_XL") == ["m-UD-Q4_K_XL.gguf"]
    both = ["m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf"]
    assert chosen(both, "Q4_K_M") == ["m-Q4_K_M.gguf"]
    assert chosen(both, "UD-Q4_K_M") == ["m-UD-Q4_K_M.gguf"]


def test_a_lone_file_that_does_not_say_what_it_is_may_be_anything() -> None:
    assert chosen(["model.gguf"], "Q8_0") == ["model.gguf"]
    assert "there is no Q8_0" in refusal(["model-Q4_0.gguf"], "Q8_0")


def test_no_model_at_all() -> None:
    assert "has no GGUF model" in refusal(["model.safetensors", "mmproj-F16.gguf", "imatrix.gguf"])


def test_a_named_file() -> None:
    assert chosen(MANY, "Q4_K_M", "m-f16.gguf") == ["m-f16.gguf"]
    assert "there is no such file; there are " in refusal(MANY, path="m-F16.gguf")


def test_split_models_are_one_and_must_be_whole() -> None:
    parts = [f"Q8_0/m-{n:05d}-of-00003.gguf" for n in (2, 3, 1)]
    assert chosen([*parts, "m-Q2_K.gguf"], "Q8_0") == sorted(parts)
    assert chosen(parts, path=parts[0]) == sorted(parts)
    assert "is split into 3 parts, and the repository does not have each of them once" in refusal(parts[:2], "Q8_0")
    assert "does not have each" in refusal(["m-Q8_0-00004-of-00003.gguf", *parts], path="m-Q8_0-00004-of-00003.gguf")
    assert "does not have each" in refusal(["m-Q8_0-00001-of-99999.gguf"])


@pytest.mark.parametrize(
    ("names", "projector"),
    [
        (["m-Q8_0.gguf"], None),
        (["m-Q8_0.gguf", "mmproj-F32.gguf", "mmproj-F16.gguf", "mmproj-BF16.gguf"], "mmproj-F16.gguf"),
        (["m-Q8_0.gguf", "m-mmproj-q8_0.gguf", "m-mmproj-bf16.gguf"], "m-mmproj-q8_0.gguf"),
        (["a/m-Q8_0.gguf", "a/mmproj-BF16.gguf", "mmproj-F16.gguf"], "a/mmproj-BF16.gguf"),
        (["a/m-Q8_0.gguf", "b/mmproj-F16.gguf", "mmproj-F32.gguf"], "mmproj-F32.gguf"),
        (["a/m-Q8_0.gguf", "b/mmproj-F16.gguf"], None),
    ],
)
def test_the_projector_beside_the_model(names: list[str], projector: str | None) -> None:
    found = pick(names).projector
    assert (found.path if found is not None else None) == projector


@pytest.mark.parametrize(
    "path",
    ["a.gguf", "a/b c/d.gguf", "Modèle-Q8_0.gguf", "a.b/.hidden.gguf", "x" * 255, "a+b(1)[2],=@!~#%.gguf"],
)
def test_s09_ordinary_names(path: str) -> None:
    assert acceptable(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "../x.gguf",
        "a/../x.gguf",
        "/etc/x.gguf",
        "a//x.gguf",
        "./x.gguf",
        "..\\x.gguf",
        "C:x.gguf",
        "a\0.gguf",
        "a\n.gguf",
        "a/\u202e.gguf",
        "CON.gguf",
        "a/nul",
        "com1.x.gguf",
        " a.gguf",
        "a.gguf ",
        "a./x.gguf",
        "e\u0301.gguf",
        "x" * 256,
        "é" * 128,
        "a/" * 600 + "x",
    ],
)
def test_s09_names_with_tricks(path: str) -> None:
    assert not acceptable(path)


@given(st.lists(st.text(max_size=30).map(lambda text: text + ".gguf"), max_size=5), st.text(max_size=10))
def test_any_listing_gives_a_choice_or_a_refusal(names: list[str], quantization: str) -> None:
    try:
        found = pick(names, quantization)
    except BadRequest as refused:
        assert refused.message.isprintable() or not quantization.isprintable()
    else:
        assert all(acceptable(file.path) and file.path in names for file in found.weights)
