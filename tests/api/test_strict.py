"""Strict JSON: what is taken, what is refused with which words, and that neither takes long (H01 to H07, H11)."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.api.strict import MAX_DEPTH, check_shape, decode, loads
from powerd.errors import BadRequest


class Inner(msgspec.Struct):
    """A nested object."""

    role: str = ""
    count: int = 0


class Sample(msgspec.Struct):
    """Every kind of field."""

    model: str = ""
    stream: bool = True
    seed: int | None = None
    top_p: float = 0.5
    messages: list[Inner] = []
    options: dict[str, Any] = {}


def refused(body: bytes | str) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        decode(Sample, body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body)
    return caught.value


# ---------------------------------------------------------------- H01


@pytest.mark.parametrize(
    "body", ["", " ", "{", "}", '{"model"', '{"model":}', "{model:1}", "{'a':1}", '{"a":1,}', "nul", "-", "\x00"]
)
def test_h01_malformed_json_names_the_place(body: str) -> None:
    message = refused(body).message
    assert message.startswith("invalid JSON: ")
    assert "at character" in message


@pytest.mark.parametrize("body", ["null", "[]", '"x"', "1", "true", "-0.0"])
def test_h01_the_body_is_an_object(body: str) -> None:
    assert refused(body).message == "invalid JSON: the body must be an object"


@pytest.mark.parametrize("rest", ["trailing", '{"model":"b"}', "\x00", "]", '"', "\n\n"])
def test_h01_only_the_first_value_counts_as_for_ollama(rest: str) -> None:
    assert decode(Sample, f' \r\n\t{{"model":"a"}}{rest}'.encode()).model == "a"


# ---------------------------------------------------------------- H02, H03, H04


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ('{"model":1}', "model", "expected string, got integer"),
        ('{"model":["a"]}', "model", "expected string, got array"),
        ('{"stream":1}', "stream", "expected boolean, got integer"),
        ('{"stream":"yes"}', "stream", "expected boolean, got string"),
        ('{"seed":true}', "seed", "got boolean"),
        ('{"seed":"5"}', "seed", "got string"),
        ('{"seed":5.0}', "seed", "got number"),
        ('{"top_p":true}', "top_p", "expected number, got boolean"),
        ('{"messages":{}}', "messages", "expected array, got object"),
        ('{"messages":[{"role":"a"},{"role":2}]}', "messages[1].role", "expected string, got integer"),
        ('{"messages":[{"count":true}]}', "messages[0].count", "expected integer, got boolean"),
        ('{"messages":[3]}', "messages[0]", "expected object, got integer"),
        ('{"options":[]}', "options", "expected object, got array"),
    ],
)
def test_h02_a_wrong_type_names_the_field_in_json_words(body: str, field: str, words: str) -> None:
    error = refused(body)
    assert error.param == field
    assert error.message.startswith(f"{field}: ")
    assert words in error.message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e400000"])
def test_h03_numbers_that_are_not_finite_are_refused_wherever_they_stand(number: str) -> None:
    for body in (f'{{"top_p":{number}}}', f'{{"unknown":[[{number}]]}}'):
        assert refused(body).message.startswith("invalid JSON: ")


def test_h03_minus_zero_is_a_number() -> None:
    assert decode(Sample, b'{"top_p":-0.0}').top_p == 0


@pytest.mark.parametrize("digits", [5_000, 1_000_000])
def test_h04_integers_without_end_are_refused_at_once(digits: int) -> None:
    started = time.process_time()
    assert refused('{"seed":' + "1" * digits + "}").message == "invalid JSON: a number is too long"
    assert time.process_time() - started < 0.1


# ---------------------------------------------------------------- H05, H06


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":', '[[], {"a": '])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5_000, 100_000])
def test_h05_deep_nesting_is_refused(opening: str, depth: int) -> None:
    closing = opening.replace("[],", "").translate(str.maketrans("[{", "]}", '":a, '))[::-1]
    body = '{"options":{"x":' + opening * depth + "1" + closing * depth + "}}"
    refused(body)


def test_h05_nesting_up_to_the_limit_is_fine() -> None:
    deep = "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2)
    wide = ",".join(["[]"] * 100)
    assert decode(Sample, f'{{"options":{{"x":{deep},"y":[{wide}]}}}}'.encode())


def test_h05_brackets_in_texts_are_not_nesting() -> None:
    text = json.dumps("[{" * 1000 + '\\"]' + "\\")
    assert decode(Sample, f'{{"model":{text}}}'.encode()).model.startswith("[{")


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"a","model":"b"}',
        '{"options":{"a":1,"a":2}}',
        '{"x":[{"y":{"z":1,"\\u007a":2}}]}',
        '{"model":"a","Model":"b"}',
        '{"MODEL":"a","Model":"b"}',
        '{"model":null,"model":"b"}',
    ],
)
def test_h06_a_key_that_stands_twice_is_refused(body: str) -> None:
    assert "stands twice" in refused(body).message


def test_h06_keys_and_objects_have_limits() -> None:
    assert "at most" in refused(json.dumps({"options": {"k" * (1 << 20): 1}})).message
    assert "at most" in refused(json.dumps({"options": {str(n): n for n in range(20_000)}})).message
    assert "values" in refused('{"options":{"a":[' + "1," * 10**6 + "1]}}").message
    assert "arrays and objects" in refused('{"options":{"a":[' + "{}," * 10**5 + "1]}}").message
    assert "strings" in refused('{"options":{"a":[' + '"",' * 10**6 + "1]}}").message


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'{"a":[' + b"[]," * 300_000 + b"1]}",
        b'{"a":[' + b"1," * 500_000 + b"1]}",
        b'{"a":"' + b"\\u00e9" * 160_000 + b'"}',
        b'{"a":"' + b'\\"' * 500_000 + b'"}',
        b'"' * 1_000_000,
        b"\\" * 1_000_000,
        b'{"a":"' + b"x" * 1_000_000 + b'"}',
    ],
    ids=["open", "empty", "numbers", "escapes", "quotes", "strings", "backslashes", "text"],
)
def test_h05_a_megabyte_of_anything_takes_less_than_a_blink(body: bytes) -> None:
    best = 10.0
    for _ in range(3):
        started = time.process_time()
        with contextlib.suppress(BadRequest):
            loads(body)
        best = min(best, time.process_time() - started)
    assert best < 0.2


# ---------------------------------------------------------------- H07, H11


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"\xff"}',
        b'{"model":"\xc0\xaf"}',
        b'{"model":"\xed\xa0\x80"}',
        b'{"unknown":"\xc3"}',
        '{"model":"a"}'.encode("utf-16"),
        '{"model":"a"}'.encode("utf-32"),
        '{"model":"a"}'.encode("utf-16-le"),
        b"\xef\xbb\xbf" + b'{"model":"a"}',
    ],
)
def test_h07_bytes_that_are_not_plain_utf8_are_refused(body: bytes) -> None:
    assert refused(body).message.startswith("invalid JSON: ")


@pytest.mark.parametrize("text", [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\ud800", r"\udc00\ud800", r"x\uDBFF"])
def test_h07_a_lone_surrogate_is_refused_wherever_it_stands(text: str) -> None:
    for body in (f'{{"model":"{text}"}}', f'{{"unknown":{{"{text}":1}}}}', f'{{"a":["{text}"]}}'):
        assert refused(body).message == "invalid JSON: a lone surrogate is not a character"


@settings(deadline=None)
@given(st.text())
def test_h07_every_other_text_passes_unchanged(text: str) -> None:
    assert decode(Sample, json.dumps({"model": text}).encode()).model == text
    assert decode(Sample, json.dumps({"model": text}, ensure_ascii=False).encode()).model == text


def test_h11_unknown_fields_are_ignored() -> None:
    assert decode(Sample, b'{"zzz":{"a":[1,2]},"messages":[{"role":"a","name":"b"}],"model":"m"}').model == "m"


def test_keys_match_whatever_their_case_at_the_top() -> None:
    assert decode(Sample, b'{"Model":"a","STREAM":false}') == Sample(model="a", stream=False)


def test_a_top_level_null_counts_as_absent() -> None:
    assert decode(Sample, b'{"model":null,"stream":null,"options":null,"messages":null}') == Sample()


# ---------------------------------------------------------------- against the parser everybody knows

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(), children, max_size=5),
    max_leaves=30,
)


@settings(deadline=None)
@given(JSON, st.booleans())
def test_what_it_takes_is_what_json_says(value: object, ascii_only: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u1 e.-nd8', max_size=60).map(str.encode))
def test_whatever_comes_is_a_value_or_a_bad_request(body: bytes) -> None:
    try:
        loads(body)
    except BadRequest:
        return
    check_shape(body)
