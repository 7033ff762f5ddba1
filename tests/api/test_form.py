"""Multipart forms: what browsers and SDKs send is read, everything else is refused with its reason."""

from __future__ import annotations

import pytest

from powerd.api.form import MAX_FIELD, MAX_PARTS, parsed
from powerd.errors import BadRequest

KIND = "multipart/form-data; boundary=B"


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--B--\r\n"


def test_fields_and_files_are_told_apart() -> None:
    read = parsed(KIND, form(part("model", "wörter".encode()), part("file", b"12345", "a.wav"), part("empty", b"")))
    assert (read.fields, read.files) == ({"model": "wörter", "empty": ""}, {"file": 5})
    assert parsed(KIND, form()).fields == {}
    quoted = parsed('Multipart/Form-Data; charset=utf-8; boundary="B"', form(part("a", b"1"), part("a", b"2")))
    assert quoted.fields == {"a": "1"}


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("", form(), "isn't multipart/form-data"),
        ("application/json", b"{}", "isn't multipart/form-data"),
        ("multipart/form-data", form(), "no multipart boundary"),
        (KIND, b"", ""),
        (KIND, b"--B\r\n", ""),
        (KIND, b"nonsense", ""),
        (KIND, form(part("a", b"1"))[:-4], ""),
        (KIND, form(part("a", b"\xff")), "a field is not UTF-8"),
        (KIND, form(part("a", b"1")).replace(b'"a"', b'"\xff"'), "Segment header failed to decode"),
        (KIND, form(*(part(f"f{number}", b"x") for number in range(MAX_PARTS + 1))), "Maximum segment count"),
        (KIND, form(part("a", b"x" * (MAX_FIELD + 1))), 'the field "a" is longer than 65536 bytes'),
        (KIND, form(part("a" * 10_000, b"x")), "header"),
        ("multipart/form-data; boundary=" + "B" * 2000, form(), "Boundary too long"),
    ],
)
def test_what_is_no_form_is_refused_in_ollamas_words(kind: str, body: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=r"^failed to parse multipart form: ") as refused:
        parsed(kind, body)
    assert words in refused.value.message
    assert "Error(" not in refused.value.message
