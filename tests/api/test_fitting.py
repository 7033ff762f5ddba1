"""What is cut of a prompt that does not fit, and who decides it (contract section 6)."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.api import fitting
from powerd.api.ask import Ask
from powerd.api.fitting import Policy, cut, policy, shortened, told
from powerd.errors import BadRequest, ContextOverflow
from powerd.names import Name
from powerd.protocol import Cut, Message


def offer(overflow: str = "dialect", architecture: str = "llama") -> Any:
    header = SimpleNamespace(bos_text="", architecture=architecture)
    return SimpleNamespace(name=Name.parse("m"), overflow=overflow, stored=SimpleNamespace(header=header))


@pytest.mark.parametrize(
    ("overflow", "ask", "allowed"),
    [
        ("dialect", {"cuts": True}, Policy(True, True, True)),
        ("dialect", {}, Policy(False, False, False)),
        ("dialect", {"cuts": True, "truncate": False}, Policy(False, False, True)),
        ("dialect", {"cuts": True, "shift": False}, Policy(True, False, False)),
        ("reject", {"cuts": True}, Policy(False, False, False)),
        ("reject", {"cuts": True, "truncate": True}, Policy(True, True, False)),
        ("truncate", {}, Policy(True, True, False)),
        ("shift", {}, Policy(True, True, True)),
    ],
)
def test_the_request_decides_then_the_model_then_the_route(overflow: str, ask: Any, allowed: Policy) -> None:
    assert policy(Ask("m", **ask), offer(overflow)) == allowed


def test_deepseek_2_is_shifted_only_where_somebody_says_so() -> None:
    assert not policy(Ask("m", cuts=True), offer(architecture="deepseek2")).shift
    assert policy(Ask("m", cuts=True, shift=True), offer(architecture="deepseek2")).shift
    assert policy(Ask("m"), offer("shift", "deepseek2")).shift


def test_a_cut_keeps_every_system_message() -> None:
    messages = tuple(
        Message(role, str(at)) for at, role in enumerate(("system", "user", "system", "assistant", "user"))
    )
    assert [message.content for message in cut(messages, 1)] == list("01234")
    assert [message.content for message in cut(messages, 2)] == list("0234")
    assert [message.content for message in cut(messages, 4)] == list("024")


class Counting:
    """A lease whose tokens are the characters; how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def count(self, text: str, add_bos: bool = True) -> int:
        self.asked += 1
        return len(text)


def shorten(monkeypatch: Any, sizes: list[int], limit: int, unreadable: int = -1) -> tuple[int, int, dict[str, str]]:
    """How many messages stay when message n has sizes[n] tokens, and how often was counted.

    Conversations that begin with message `unreadable` are refused by the template.
    """
    messages = tuple(Message("user", chr(ord("a") + at) * size) for at, size in enumerate(sizes))

    async def rendered(_context: Any, _ask: Any, _offer: Any, kept: Any, _notes: Any) -> str:
        if len(messages) - len(kept) == unreadable:
            raise BadRequest("template error: no")
        return "".join(message.content for message in kept)

    monkeypatch.setattr(fitting, "rendered", rendered)
    lease = Counting()
    notes: dict[str, str] = {}
    overflow = ContextOverflow(sum(sizes), limit, "here")
    work = shortened(cast(Any, None), Ask("m"), offer(), messages, cast(Any, lease), overflow, notes)
    text = asyncio.run(work)
    return sum(text.endswith("".join(m.content for m in messages[at:])) for at in range(len(sizes))), lease.asked, notes


def test_as_few_messages_as_it_takes_go_and_it_is_told(monkeypatch: Any) -> None:
    kept, asked, notes = shorten(monkeypatch, [10] * 1000, 55)
    assert (kept, asked <= 10) == (5, True)
    expected = "995 of 1000 messages left out: 10000 tokens were sent and 55 are available, from here"
    assert notes == {"X-Powerd-Truncated": expected}


def test_the_last_message_stays_though_it_does_not_fit(monkeypatch: Any) -> None:
    assert shorten(monkeypatch, [10, 10, 100], 50)[0] == 1


def test_a_conversation_the_template_refuses_is_no_way_to_fit(monkeypatch: Any) -> None:
    assert shorten(monkeypatch, [10, 10, 10, 10], 35, unreadable=1)[0] == 2


@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=60), limit=st.integers(2, 400))
def test_bisection_finds_what_a_loop_would(sizes: list[int], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kept, _, _ = shorten(patch, sizes, limit)
    fits = [at for at in range(1, len(sizes)) if sum(sizes[at:]) < limit]
    assert kept == len(sizes) - min(fits, default=len(sizes) - 1)


def test_two_cuts_share_a_header() -> None:
    notes = {"X-Powerd-Truncated": "2 of 3 messages left out: …"}
    told(Cut(1, 90, 40, 50, "here"), offer(), notes)
    assert notes["X-Powerd-Truncated"].endswith(
        "; the prompt was cut from 90 to 40 tokens: 50 are available, from here"
    )
