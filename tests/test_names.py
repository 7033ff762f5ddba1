"""Names: the only way to a manifest's path (contract section 2.1; reliability N01 to N06)."""

from __future__ import annotations

import string
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.names import Name


@pytest.mark.parametrize(
    ("text", "full", "display"),
    [
        ("llama3.2", "registry.ollama.ai/library/llama3.2:latest", "llama3.2:latest"),
        ("llama3.2:3b-q4_K_M", "registry.ollama.ai/library/llama3.2:3b-q4_K_M", "llama3.2:3b-q4_K_M"),
        ("me/model", "registry.ollama.ai/me/model:latest", "me/model:latest"),
        ("library/model:x", "registry.ollama.ai/library/model:x", "model:x"),
        ("hf.co/Org/Repo-GGUF:Q8_0", "hf.co/Org/Repo-GGUF:Q8_0", "hf.co/Org/Repo-GGUF:Q8_0"),
        ("localhost:5000/ns/m", "localhost:5000/ns/m:latest", "localhost:5000/ns/m:latest"),
        ("https://registry.ollama.ai/library/m:t", "registry.ollama.ai/library/m:t", "m:t"),
        ("http://host:80/ns/m:t", "host:80/ns/m:t", "host:80/ns/m:t"),
        ("  spaced  ", "registry.ollama.ai/library/spaced:latest", "spaced:latest"),
        ("Registry.Ollama.AI/Library/M", "Registry.Ollama.AI/Library/M:latest", "M:latest"),
        ("_m", "registry.ollama.ai/library/_m:latest", "_m:latest"),
    ],
)
def test_names_are_read_from_the_right(text: str, full: str, display: str) -> None:
    name = Name.parse(text)
    assert (name.full, name.display, str(name)) == (full, display, display)
    assert name.key == full.lower()


def test_a_declared_name_lives_under_the_reserved_host() -> None:
    name = Name.declared("coder", "v1")
    assert name.path == PurePosixPath("powerd.local/declared/coder/v1")
    assert (name.display, name.is_declared) == ("coder:v1", True)
    assert Name.parse(name.full) == name
    assert not Name.parse("coder").is_declared
    for model, tag in (("../x", "latest"), ("a/b", "latest"), ("m", ".."), ("", "latest"), ("m", "")):
        with pytest.raises(ValueError, match=r"^invalid model name$"):
            Name.declared(model, tag)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "../x",
        "a/../../b",
        "/etc/passwd",
        "a//b",
        "a/b//c",
        "//b",
        "a//",
        ".",
        "..",
        "a/./b",
        "./a",
        "a/",
        "/a",
        "/a/b/c",
        "a/b/c/d",
        "m:",
        ":t",
        ":",
        "m:t:",
        "m:a:b",
        "n/m:",
        "\\",
        "a\\b",
        "%2e%2e%2f",
        "a\0b",
        "a\nb",
        "a\n",
        "a\tb",
        "\ta",
        "a b",
        "a\u00a0",
        "\U0001f600",
        "a\u202eb",
        "e\u0301",
        "\u00e9",
        "\u043c\u043edel",
        "m@sha256:abc",
        "user:pass@host/ns/m",
        "-m",
        ".m",
        "m:-t",
        "m:.t",
        "host/n.s/m",
        "m" * 81,
        "m:" + "t" * 81,
        "n" * 81 + "/m",
        "h" * 351 + "/n/m",
        "x" * 601,
        "://m",
        "../..://m",
        "a b://m",
        "http://",
        "http:///m",
        "http://http://m",
        None,
        12,
        b"m",
        ["m"],
    ],
)
def test_n01_n02_everything_else_is_refused_with_one_text(text: object) -> None:
    with pytest.raises(ValueError, match=r"^invalid model name$"):
        Name.parse(text)


PART = st.text(alphabet=string.ascii_letters + string.digits + "_", min_size=1, max_size=8)
NAMES = st.tuples(PART, PART, PART, PART)


@given(NAMES)
def test_a_name_survives_being_written_and_read(parts: tuple[str, str, str, str]) -> None:
    name = Name(*parts)
    assert Name.parse(name.full) == name
    assert Name.parse(name.display) == name or name.is_declared or _defaults_in_another_case(name)
    assert Name.parse(name.display).key == name.key or name.is_declared


def _defaults_in_another_case(name: Name) -> bool:
    return name.host.lower() == "registry.ollama.ai" or name.namespace.lower() == "library"


ODD = st.text(alphabet="aB0_.-:/\\ @%~\0\n\u00e9", max_size=24)


@given(st.text(max_size=40) | ODD)
def test_whatever_parses_stays_below_its_directory(text: str) -> None:
    try:
        name = Name.parse(text)
    except ValueError as error:
        assert str(error) == "invalid model name"
        return
    parts = name.path.parts
    assert len(parts) == 4
    assert all(part not in {"", ".", ".."} and "/" not in part and "\\" not in part for part in parts)
    assert all(part.isascii() and part.isprintable() and not part.startswith((".", "-")) for part in parts)
    assert Name.parse(name.full) == name
    assert len(name.full) < 600


@given(ODD, ODD)
def test_n04_names_with_one_key_differ_in_case_only(one: str, two: str) -> None:
    try:
        first, second = Name.parse(one), Name.parse(two)
    except ValueError:
        return
    assert (first.key == second.key) == (str(first.path).lower() == str(second.path).lower())
