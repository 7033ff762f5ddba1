"""Canaries: one token through the real queue, and not a trace of it. Transcripts, then real processes."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from dataclasses import replace

import pytest

from powerd.errors import Busy, RunnerDied, Timeout
from powerd.fleet.terms import FleetConfig
from powerd.fleet.views import views
from tests.fleet.play import Play, model, wish
from tests.fleet.stage import CONFIG, Stage, collect, fake, generate, kill, on_stage, until, want

A, B = model("a", 4), model("b", 4)
TWO = model("a", 4, parallel=2)


def test_a_canary_is_refused_at_once_where_no_runner_is_ready() -> None:
    play = Play()
    ticket = play.canary(A)
    assert isinstance(play.refused[ticket], Busy)
    play.ask(A)
    ticket = play.canary(A)
    assert isinstance(play.refused[ticket], Busy)
    assert play.running() == "A"
    assert len(play.spawned) == 1


def test_a_canary_moves_no_idle_clock() -> None:
    play = Play()
    play.idle(A)
    for _ in range(29):
        play.wait(10)
        play.release(play.canary(A))
    play.wait(9.9)
    assert play.running() == "a"
    play.wait(0.1)
    assert play.said("unload") == []
    assert play.running() == "-a"


def test_an_unload_that_is_due_waits_for_a_canary_that_is_under_way() -> None:
    play = Play()
    play.idle(A)
    play.wait(299)
    ticket = play.canary(A)
    play.wait(2)
    assert play.running() == "a"
    play.release(ticket)
    assert play.running() == "-a"


def test_a_canary_changes_neither_keep_alive_nor_priority_nor_override() -> None:
    play = Play()
    play.idle(A, keep_alive=60.0, priority=5)
    play.unload(B)
    entry, runner = play.state.board.entries[A.key], play.runner("a")
    play.load(A)
    override = entry.override
    play.release(play.canary(A))
    assert (runner.sticky, entry.priority, entry.override) == (60.0, 5, override)
    assert override is not None


def test_a_canary_does_not_change_who_is_evicted() -> None:
    play = Play(budget=8)
    play.idle(A)
    play.wait(10)
    play.idle(B)
    play.release(play.canary(A))
    play.ask(model("c", 4))
    assert play.running() == "-a b"


def test_an_eviction_waits_for_a_canary_and_no_longer() -> None:
    play = Play(budget=4)
    play.idle(A)
    canary = play.canary(A)
    ticket = play.ask(B)
    assert play.running() == "a"
    assert play.canary(A) in play.waiting()
    play.release(canary)
    assert play.running() == "-a"
    assert play.waiting() == [ticket]


def test_a_canary_waits_its_turn_and_does_not_count_in_the_queue() -> None:
    play = Play(config=FleetConfig(max_queue=1))
    holder = play.up(A)
    first = play.ask(A)
    canary = play.canary(A)
    assert play.waiting() == [first, canary]
    play.release(holder)
    play.release(first)
    assert play.granted == [holder, first, canary]


def test_a_canary_behind_a_request_that_does_not_end_times_out() -> None:
    play = Play()
    play.up(A)
    ticket = play.canary(A, seconds=5)
    play.wait(5)
    assert isinstance(play.refused[ticket], Timeout)


def test_listings_count_no_canary() -> None:
    play = Play()
    play.idle(TWO)
    play.canary(TWO)
    play.ask(TWO)
    play.canary(TWO)
    [view] = views(play.state.board, {}, play.now)
    assert (view.requests, view.queued) == (1, 0)


def test_answers_to_real_requests_are_dated() -> None:
    play = Play()
    play.up(A)
    play.wait(7)
    play.state.answered(1, play.now)
    [view] = views(play.state.board, {}, play.now)
    assert (view.loaded_at, view.answered_at) == (0.0, 7.0)


def test_a_canary_keeps_nothing_in_memory() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    play.ready("a")
    play.wish()
    assert play.running() == "-a"
    assert play.canary(A) in play.refused


# ---------------------------------------------------------------- processes


def test_a_canary_on_a_real_runner_is_answered_and_dates_nothing() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        await stage.ask(deployment)
        [before] = stage.fleet.views()
        assert before.answered_at is not None
        await asyncio.sleep(0.05)
        await stage.fleet.canary(deployment.key, 5)
        [after] = stage.fleet.views()
        assert (after.answered_at, after.expires_at) == (before.answered_at, before.expires_at)

    on_stage(play)


def test_a_canary_of_what_is_not_loaded_is_busy_and_loads_nothing() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        with pytest.raises(Busy):
            await stage.fleet.canary(deployment.key, 5)
        await stage.ask(deployment)
        await stage.fleet.unload(deployment.key)
        with pytest.raises(Busy):
            await stage.fleet.canary(deployment.key, 5)
        assert stage.said("load") == [""]

    on_stage(play)


def test_a_canary_on_a_stopped_runner_times_out_and_the_runner_is_ended_in_the_end() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        await stage.fleet.load(deployment, "m")
        [view] = stage.fleet.views()
        kill(view.pid, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(Timeout, match=r"one token within 0\.2 s"):
            await stage.fleet.canary(deployment.key, 0.2)
        assert time.monotonic() - started < 1
        await until(lambda: not stage.fleet.views())
        assert stage.said("unload") == ["crash"]

    on_stage(play, replace(CONFIG, stall_timeout=0.6))


def test_a_canary_behind_a_hanging_request_times_out() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake()
        async with await stage.fleet.lease(want(deployment)) as lease:
            stream = lease.submit(generate("hang-after=1"))
            await anext(stream)
            with pytest.raises(Timeout):
                await stage.fleet.canary(deployment.key, 0.2)
            kill(lease.pid)
            with pytest.raises(RunnerDied):
                await collect(stream)

    on_stage(play)


def test_a_canary_on_a_runner_that_dies_says_so() -> None:
    async def play(stage: Stage) -> None:
        deployment = fake("crash-after=0")
        await stage.fleet.load(deployment, "m")
        with pytest.raises(RunnerDied):
            await stage.fleet.canary(deployment.key, 5)

    on_stage(play)


def test_a_canary_has_no_limit_but_its_own() -> None:
    play = Play()
    play.up(A)
    ticket = play.canary(A, seconds=math.inf)
    play.wait(100_000)
    assert play.waiting() == [ticket]
