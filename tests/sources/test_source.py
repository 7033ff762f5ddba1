"""What a source text means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.errors import BadRequest
from powerd.sources.source import parse

HERE = Path("/etc/power")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/models/a.gguf", "/models/a.gguf"),
        ("./a b.gguf", "/etc/power/a b.gguf"),
        ("../a.gguf", "/etc/power/../a.gguf"),
        ("file:///models/a%20b.gguf", "/models/a b.gguf"),
        ("file://localhost/a.gguf", "/a.gguf"),
        ("FILE:/a.gguf", "/a.gguf"),
    ],
)
def test_files(text: str, path: str) -> None:
    source = parse(text, HERE)
    assert (source.kind, source.path, source.supported, source.why_not) == ("file", Path(path), True, "")


def test_a_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert parse("~/a.gguf", HERE).path == Path("/home/someone/a.gguf")
    with pytest.raises(BadRequest, match="no such home directory"):
        parse("~nobody-of-that-name/a.gguf", HERE)


def test_the_built_in_model() -> None:
    source = parse("builtin:demo", HERE)
    assert (source.kind, source.name, source.supported) == ("builtin", "demo", True)
    with pytest.raises(BadRequest, match="builtin:demo is the one model"):
        parse("builtin:large", HERE)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/a.gguf",
        "http://127.0.0.1:8080/a.gguf?x=1",
        "https://huggingface.co/org/repo/resolve/main/a.gguf",
        "https://hf.co/org/repo/resolve/main/a.gguf?download=true",
        "https://[::1]:8443/a.gguf",
    ],
)
def test_urls(text: str) -> None:
    source = parse(text, HERE)
    assert (source.kind, source.url, source.supported) == ("url", text, True)
    assert "?" not in source.text


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("llama3.2", "registry", ""),
        ("registry.example.com:5000/team/model:tag", "registry", ""),
        ("models/a.gguf", "registry", "to name a file begin with / or ./"),
        ("hf.co/org/repo:Q4_K_M", "huggingface", ""),
        ("hf://org/repo", "huggingface", ""),
        ("huggingface.co/org/repo", "huggingface", ""),
        ("https://huggingface.co/org/repo", "huggingface", ""),
        ("https://huggingface.co/org/repo/blob/main/a.gguf", "huggingface", ""),
        ("./Modelfile", "modelfile", ""),
        ("/srv/coder.modelfile", "modelfile", ""),
    ],
)
def test_kinds_and_what_is_said_of_those_that_cannot_be_fetched(text: str, kind: str, why: str) -> None:
    source = parse(text, HERE)
    assert (source.kind, source.supported) == (kind, not why)
    assert why in source.why_not


@pytest.mark.parametrize(
    "text",
    [
        "",
        " llama3",
        "a\nb",
        "/a\0b",
        "x" * 9000,
        "a//b",
        "http://",
        "https://user:secret@example.com/a.gguf",
        "https://user@example.com/a.gguf",
        "http://ok.example\\@127.0.0.1/",
        "http://ok.example/a b",
        "http://[::1/a",
        "http://host:99999/a",
        "http://host:0/a",
        "http://host:abc/a",
        "http://exämple.com/a",
        "file://server/share/a.gguf",
        "file:///a?b",
        "file:///a%00b",
        "ftp://example.com/a.gguf/b/c/d",
        "s3://bucket/a b",
    ],
)
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(text, HERE)
    assert "secret" not in caught.value.message


@given(st.text(max_size=60) | st.from_regex(r"(https?|file|hf|builtin)[:/]{1,3}[ -~]{0,30}", fullmatch=True))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        source = parse(text, HERE)
    except BadRequest as error:
        assert error.message
    else:
        assert source.supported is (source.why_not == "")
        assert source.kind != "url" or "@" not in source.url.split("/")[2]
