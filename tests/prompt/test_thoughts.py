"""Thoughts in the text of earlier answers."""

from __future__ import annotations

from powerd.prompt.thoughts import forgotten
from powerd.protocol import Message


def said(role: str, content: str) -> Message:
    return Message(role, content)


def test_answers_before_the_last_turn_of_the_user_lose_the_thoughts_they_begin_with() -> None:
    turns = (
        said("user", "<think>mine</think>"),
        said("assistant", " \n<think>a</think>\n\nb <think>c</think>"),
        said("assistant", "b <think>c</think>"),
        said("assistant", "<think>never closed"),
        said("user", "x"),
        said("assistant", "<think>a</think>b"),
    )
    contents = [message.content for message in forgotten(turns)]
    assert contents == [
        "<think>mine</think>",
        "b <think>c</think>",
        "b <think>c</think>",
        "",
        "x",
        "<think>a</think>b",
    ]


def test_without_a_turn_of_the_user_nothing_is_lost() -> None:
    turns = (said("system", "S"), said("assistant", "<think>a</think>b"))
    assert forgotten(turns) == turns
    assert forgotten(()) == ()
