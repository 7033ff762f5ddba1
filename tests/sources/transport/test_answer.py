"""What HTTP answers mean, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.errors import SourceFailed
from powerd.sources.transport.answer import Again, Answer, Complete, Rest, Whole, judge

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("status", "headers", "written", "total", "answer"),
    [
        (200, {"content-length": "10"}, 0, None, Whole(10, "")),
        (200, {"content-length": "10", "etag": '"x"'}, 5, 10, Whole(10, '"x"')),
        (200, {"etag": 'W/"weak"'}, 0, None, Whole(None, "")),
        (200, {"content-length": "-1"}, 0, None, Whole(None, "")),
        (200, {"content-length": "1" * 30}, 0, None, Whole(None, "")),
        (200, {"content-length": "\u0661"}, 0, None, Whole(None, "")),
        (206, {"content-range": "bytes 5-9/10"}, 5, 10, Rest(10)),
        (206, {"content-range": "bytes 5-9/10"}, 5, None, Rest(10)),
        (206, {"content-range": "bytes 5-9/*"}, 5, 10, Rest(10)),
        (206, {"content-range": "bytes 5-9/*"}, 5, None, Rest(None)),
        (206, {"content-range": "bytes 4-9/10"}, 5, 10, Again("the server resumed at the wrong place", 0.0, True)),
        (206, {"content-range": "bytes 5-9/11"}, 5, 10, Again("the server resumed at the wrong place", 0.0, True)),
        (206, {}, 5, 10, Again("the server resumed at the wrong place", 0.0, True)),
        (416, {}, 10, 10, Complete()),
        (416, {}, 5, 10, Again("the server could not resume", 0.0, True)),
        (500, {}, 0, None, Again("the server answered 500 Internal Server Error")),
        (599, {}, 0, None, Again("the server answered 599")),
        (503, {"retry-after": "7"}, 0, None, Again("the server answered 503 Service Unavailable")),
        (429, {"retry-after": "7"}, 0, None, Again("the server answered 429 Too Many Requests", 7.0)),
        (429, {"retry-after": "999999999"}, 0, None, Again("the server answered 429 Too Many Requests", 60.0)),
        (429, {"retry-after": "-1"}, 0, None, Again("the server answered 429 Too Many Requests")),
        (429, {"retry-after": "1e9"}, 0, None, Again("the server answered 429 Too Many Requests")),
        (
            429,
            {"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"},
            0,
            None,
            Again("the server answered 429 Too Many Requests", 10.0),
        ),
    ],
)
def test_answers(status: int, headers: dict[str, str], written: int, total: int | None, answer: Answer) -> None:
    assert judge(status, headers, written, total, NOW) == answer


@pytest.mark.parametrize(
    ("status", "headers", "written", "message"),
    [
        (404, {}, 0, "the server answered 404 Not Found"),
        (206, {"content-range": "bytes 0-9/10"}, 0, "the server answered 206 Partial Content"),
        (416, {}, 0, "the server answered 416"),
        (204, {}, 0, "the server answered 204 No Content"),
        (200, {"content-encoding": "gzip"}, 0, "unexpected Content-Encoding 'gzip'"),
    ],
)
def test_answers_no_other_try_will_mend(status: int, headers: dict[str, str], written: int, message: str) -> None:
    with pytest.raises(SourceFailed, match=message):
        judge(status, headers, written, None, NOW)


HEADERS = st.dictionaries(
    st.sampled_from(["content-length", "content-range", "content-encoding", "etag", "retry-after"]),
    st.text(max_size=30) | st.sampled_from(["identity", "bytes 3-9/10", "bytes 0-9/10", "10", '"e"']),
)


@given(st.integers(100, 999), HEADERS, st.integers(0, 10), st.none() | st.integers(0, 10))
def test_any_answer_is_judged(status: int, headers: dict[str, str], written: int, total: int | None) -> None:
    try:
        answer = judge(status, headers, written, total, NOW)
    except SourceFailed:
        return
    assert not isinstance(answer, Again) or answer.wait is None or 0 <= answer.wait <= 60
    assert not isinstance(answer, Rest) or written
