"""bulletin: numbered events that a follower gets whole, a gap that is said, and remarks that are not repeated."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from powerd.reconcile.health import bulletin as bulletin_module
from powerd.reconcile.health.bulletin import Bulletin


def test_events_are_numbered_without_gaps_and_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulletin_module, "EVENTS_KEPT", 3)
    bulletin = Bulletin()
    for number in range(5):
        bulletin.note("load", "m", "", f"number {number + 1}")
    assert [event.number for event in bulletin.after(-1)] == [3, 4, 5]
    assert [event.number for event in bulletin.after(3)] == [4, 5]
    assert bulletin.after(5) == []


def test_what_is_no_longer_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulletin_module, "EVENTS_KEPT", 3)
    bulletin = Bulletin()
    for _ in range(10):
        bulletin.note("load", "m", "", "x")
    gap, *kept = bulletin.after(2)
    assert (gap.kind, gap.message, gap.number) == ("gap", "5 events are no longer kept", 7)
    assert [event.number for event in kept] == [8, 9, 10]


def test_a_follower_gets_every_event_however_fast_they_come() -> None:
    async def act() -> None:
        bulletin = Bulletin()
        bulletin.note("load", "m", "", "before")
        seen: list[int] = []

        async def follow() -> None:
            async with aclosing(bulletin.follow(-1)) as batches:
                async for batch in batches:
                    seen.extend(event.number for event in batch)
                    await asyncio.sleep(0.001)
                    if len(seen) >= 300:
                        return

        task = asyncio.create_task(follow())
        for number in range(299):
            bulletin.note("load", "m", "", str(number))
            if number % 50 == 0:
                await asyncio.sleep(0.002)
        async with asyncio.timeout(5):
            await task
        assert seen == list(range(1, 301))

    asyncio.run(act())


def test_a_follower_who_leaves_is_forgotten_and_hears_of_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulletin_module, "SILENCE_SECONDS", 0.01)

    async def act() -> None:
        bulletin = Bulletin()
        batches = bulletin.follow(-1)
        assert [await anext(batches) for _ in range(3)] == [[], [], []]
        await batches.aclose()
        bulletin.note("load", "m", "", "nobody hears")

    asyncio.run(act())


def test_a_remark_is_made_once_until_something_else_of_its_kind_happens() -> None:
    bulletin = Bulletin()
    for _ in range(3):
        bulletin.remark("drift", "", "SocketLost", "no space")
    bulletin.note("load", "m", "", "x")
    bulletin.remark("drift", "", "SocketLost", "no space")
    bulletin.remark("drift", "", "SocketRestored", "")
    bulletin.remark("drift", "", "SocketLost", "no space")
    assert [event.reason for event in bulletin.events if event.kind == "drift"] == [
        "SocketLost",
        "SocketRestored",
        "SocketLost",
    ]
