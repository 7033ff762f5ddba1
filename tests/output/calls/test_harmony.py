"""Names of tools as gpt-oss is told them, and the message that a prompt has opened."""

from __future__ import annotations

import pytest

from powerd.output.calls.harmony import Harmony, written_names
from tests.output.corpus import read


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("get_weather", "get_weather"),
        ("get-user.data now", "get_user_data_now"),
        ("über", "über"),
        ("a$b(c)", "abc"),
        ("$$$", "unnamed"),
        ("", "unnamed"),
        ("2fa", "_2fa"),
        ("browser.search", "browser.search"),
        ("browser.close", "browser_close"),
        ("python", "python"),
    ],
)
def test_names_are_written_as_the_model_knows_them(name: str, written: str) -> None:
    assert written_names([name]) == {name: written}


def test_names_that_come_out_the_same_are_numbered() -> None:
    assert written_names(["a-b", "a.b", "a_b", "a b", "a-b"]) == {
        "a-b": "a_b",
        "a.b": "a_b_2",
        "a_b": "a_b_3",
        "a b": "a_b_4",
    }


def test_numbered_names_are_mapped_back() -> None:
    reader = Harmony({"a-b": {}, "a.b": {}})
    assert read(reader, ["<|channel|>commentary to=functions.a_b_2<|message|>{}"]) == (("call a.b", "{}"),)


def test_a_message_that_the_prompt_opened() -> None:
    text = "and more.<|end|><|start|>assistant<|channel|>final<|message|>Yes"
    assert read(Harmony(None, channel="analysis"), text) == (("thought", "and more."), ("content", "Yes"))
    assert read(Harmony(None, channel="final"), ["world!"]) == (("content", "world!"),)


def test_text_streams_as_it_comes() -> None:
    reader = Harmony(None)
    reader.feed("<|channel|>final<|message|>")
    assert [piece.text for piece in reader.feed("Hel") if hasattr(piece, "text")] == ["Hel"]
