from __future__ import annotations

from pathlib import Path

import pytest

from powerd.errors import BadRequest
from powerd.reconcile.making.creation import CreateRequest, config, overrides, parameters, replaced, texts, version
from powerd.store import manifest as m
from powerd.store.gguf import Header, read_header
from tests.api.rig import DEMO


@pytest.fixture(scope="module")
def header() -> Header:
    return read_header(Path(DEMO))


def test_parameters_lie_over_the_bases() -> None:
    base = {"top_k": 3, "stop": ["a"], "odd": 1}
    assert parameters(base, {"stop": ["b", ""], "top_k": None, "seed": 5.0}) == {
        "top_k": 3,
        "stop": ("b",),
        "odd": 1,
        "seed": 5,
    }
    assert parameters(base, {}) == base


def test_new_weights_are_described_anew_and_old_ones_as_before(header: Header) -> None:
    base = {
        "model_type": "7B",
        "renderer": "r",
        "draft": {"a": 1},
        "powerd": {"source": "x"},
        "rootfs": {},
        "capabilities": ["tools"],
    }
    request = CreateRequest("x", requires="v1.2.3")
    kept = config(base, header, request, new_weights=False)
    assert (kept["model_type"], kept["renderer"], kept["requires"]) == ("7B", "r", "1.2.3")
    assert not kept.keys() & {"powerd", "rootfs"}
    assert kept["draft"] == {"a": 1}
    made = config(base, header, request, new_weights=True)
    assert (made["model_type"], made["capabilities"]) == ("2.89M", ["tools"])
    own = CreateRequest("x", renderer="other", info={"parameter_size": "9B", "quantization_level": "Q9"})
    assert config(base, header, own, new_weights=True)["file_type"] == "Q9"
    assert config(base, header, own, new_weights=False)["renderer"] == "other"


def test_a_template_takes_the_place_of_every_kind_of_template() -> None:
    made = texts(CreateRequest("x", template="{{ .Prompt }}", licenses=("a",)), {})
    assert [media_type for media_type, _ in made] == [m.TEMPLATE_TYPE, m.LICENSE_TYPE]
    assert replaced(made) == {m.TEMPLATE_TYPE, m.LEGACY_TEMPLATE_TYPE, m.JINJA_TYPE}
    assert replaced(texts(CreateRequest("x", system="s", licenses=("a",)), {})) == {m.SYSTEM_TYPE}


def test_text_layers_come_in_ollamas_order() -> None:
    request = CreateRequest("x", template="{% x %}", system="s", licenses=("a", "b"), messages=(("user", "hi"),))
    assert texts(request, {"b": 1, "a": 2}) == [
        (m.JINJA_TYPE, b"{% x %}"),
        (m.SYSTEM_TYPE, b"s"),
        (m.LICENSE_TYPE, b"a"),
        (m.LICENSE_TYPE, b"b"),
        (m.PARAMS_TYPE, b'{"a":2,"b":1}'),
        (m.MESSAGES_TYPE, b'[{"role":"user","content":"hi"}]'),
    ]


def test_a_template_is_bounded() -> None:
    with pytest.raises(BadRequest, match="template error: longer than"):
        texts(CreateRequest("x", template="x" * (1 << 20) + "y"), {})


def test_a_family_names_its_list_and_numbers_become_sizes() -> None:
    assert overrides({"model_family": "f", "parameter_size": 8_000_000_000, "unknown": 1}) == {
        "model_family": "f",
        "model_families": ["f"],
        "model_type": "8B",
    }


def test_versions_lose_their_v() -> None:
    assert (version(""), version("v0.14.0")) == ("", "0.14.0")
    with pytest.raises(BadRequest, match=r"requires must be a valid semver \(e\.g\. 0\.14\.0\)"):
        version("latest")


def test_what_is_kept_and_not_acted_on_is_told() -> None:
    request = CreateRequest("x", renderer="r", parser="p", template="{{ .Prompt }}")
    assert [text.split()[:3] for text in request.warnings] == [
        ["warning:", "renderer", "'r'"],
        ["warning:", "parser", "'p'"],
    ]
    assert CreateRequest("x", template="{% x %}", parser="qwen3-coder").warnings == []
    [told] = CreateRequest("x", draft_files={"d.gguf": "sha256:0"}).warnings
    assert told.startswith("warning: the draft model is kept and not used: powerd does not speculate")
