"""The tree of failures: every class has a code of its own, a sentence, and a shape in every dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from powerd import errors
from powerd.api import ops
from powerd.api.anthropic import routes as anthropic
from powerd.api.call import Dialect
from powerd.api.ollama import routes as ollama
from powerd.api.openai import routes as openai
from powerd.api.openai.frames import ERROR_TYPES
from powerd.api.status import STATUS, Refusal, headers_of, status_of

ARGUMENTS: dict[type[errors.PowerError], tuple[object, ...]] = {
    errors.ContextOverflow: (10, 4, "the default of 4 tokens"),
    errors.BackendUnavailable: (),
}


def tree(kind: type[errors.PowerError] = errors.PowerError) -> Iterator[type[errors.PowerError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from tree(below)


def example(kind: type[errors.PowerError]) -> errors.PowerError:
    return kind(*ARGUMENTS.get(kind, ("a sentence",)))  # type: ignore[arg-type]  # each class has its own arguments


KINDS = list(tree())
DIALECTS = [ollama.DIALECT, openai.DIALECT, anthropic.DIALECT, ops.DIALECT]


def test_every_code_is_used_once() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_stands_in_the_modules_overview(kind: type[errors.PowerError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.__doc__


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_has_a_status_that_clients_may_see(kind: type[errors.PowerError]) -> None:
    status = status_of(example(kind))
    assert 400 <= status < 500 or status in {502, 503, 504, 507} or (status == 500 and kind in _ALLOWED_500)


_ALLOWED_500 = {errors.LoadFailed: "model failed to load:", errors.RunnerDied: "runner:"}


@pytest.mark.parametrize("kind", _ALLOWED_500)
def test_a_500_starts_with_one_of_ollamas_texts(kind: type[errors.PowerError]) -> None:
    assert example(kind).message.startswith(_ALLOWED_500[kind])


def test_every_class_directly_below_the_root_is_in_the_table() -> None:
    assert set(errors.PowerError.__subclasses__()) <= set(STATUS)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("kind", KINDS)
def test_every_class_has_a_body_in_every_dialect(kind: type[errors.PowerError], dialect: Dialect) -> None:
    error = example(kind)
    body = json.loads(dialect.error(error))
    told = body["error"]
    if dialect is openai.DIALECT:
        assert told.keys() == {"message", "type", "param", "code"}
        assert told["type"] == ERROR_TYPES.get(status_of(error), "api_error")
        told = told["message"]
    if dialect is anthropic.DIALECT:
        assert body["type"] == "error"
        assert told.keys() == {"type", "message"}
        told = told["message"].removeprefix("prompt is too long: 10 tokens > 4 maximum; ")
    assert told == error.message


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_refusals_of_http_have_a_body_too(dialect: Dialect) -> None:
    assert b"too slow" in dialect.error(Refusal(408, "too slow"))
    assert status_of(Refusal(408, "too slow")) == 408


def test_openai_gets_the_field_and_the_code_it_acts_on() -> None:
    told = json.loads(openai.DIALECT.error(errors.BadRequest("no", "seed")))["error"]
    assert (told["param"], told["code"]) == ("seed", None)
    told = json.loads(openai.DIALECT.error(example(errors.ContextOverflow)))["error"]
    assert (told["type"], told["code"]) == ("invalid_request_error", "context_length_exceeded")


def test_an_overflow_names_tokens_limit_and_where_the_limit_comes_from() -> None:
    message = example(errors.ContextOverflow).message
    assert "10 tokens" in message
    assert "exceeds the available context size (4 tokens)" in message
    assert "the default of 4 tokens" in message


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2"), (60.0, "60")])
def test_busy_says_when_to_come_back_in_whole_seconds(seconds: float, header: str) -> None:
    assert headers_of(errors.Busy("later", seconds)) == {"Retry-After": header}
    assert headers_of(errors.DoesNotFit("later", seconds)) == {"Retry-After": header}


def test_other_failures_have_no_headers() -> None:
    assert headers_of(errors.NotFound("gone")) == {}
    assert headers_of(Refusal(405, "no", {"Allow": "GET"})) == {"Allow": "GET"}
