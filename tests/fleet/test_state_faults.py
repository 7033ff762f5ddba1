"""Crashes, failed loads, hangs and back-off: transcripts over FleetState."""

from __future__ import annotations

import pytest

from powerd.errors import Busy, DoesNotFit, LoadFailed, RunnerDied
from powerd.fleet.terms import FleetConfig
from powerd.fleet.views import failures
from tests.fleet.play import Play, model, wish

A, B = model("a", 4), model("b", 4)
SEGV = "killed by signal 11 (SIGSEGV)"


def test_x01_after_one_crash_the_next_request_is_answered_straight_away() -> None:
    play = Play()
    play.idle(A)
    play.exit("a", "killed by signal 9 (SIGKILL)")
    ticket = play.ask(A)
    assert play.running() == "A"
    play.ready("a")
    assert play.granted[-1] == ticket
    assert play.said("crash") == ["a crash"]


def test_x01_those_who_wait_are_served_by_the_restarted_runner_and_leases_are_gone() -> None:
    play = Play()
    holder = play.up(A)
    waiter = play.ask(A)
    play.exit("a", SEGV)
    assert play.running() == "A"
    play.ready("a")
    assert play.granted == [holder, waiter]
    play.release(holder)
    assert play.runner("a").leases.keys() == {waiter}


def test_x01_the_back_off_doubles_up_to_a_minute() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    delays = []
    for _ in range(10):
        play.ready("a")
        play.exit("a", SEGV)
        delays.append(max(0.0, play.state.board.entries[A.key].next_try - play.now))
        play.wait(delays[-1])
        assert play.running() == "A"
    assert delays == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_x01_the_back_off_is_forgotten_after_ten_minutes_of_health() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    for _ in range(5):
        play.ready("a")
        play.exit("a", SEGV)
        play.wait(10)
    play.ready("a")
    play.wait(600)
    play.exit("a", SEGV)
    assert play.running() == "A"


def test_x01_the_back_off_is_spread_by_the_jitter_it_is_given() -> None:
    play = Play()
    play.state.board.jitter = lambda: 1.2
    play.wish(wish(A, loaded=True))
    for _ in range(2):
        play.ready("a")
        play.exit("a", SEGV)
    assert play.state.board.entries[A.key].next_try == pytest.approx(1.2)


def test_during_a_long_back_off_requests_are_refused_with_count_and_cause() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    for _ in range(5):
        play.ready("a")
        play.exit("a", SEGV)
        play.wait(4)
    play.wait(4)
    play.ready("a")
    play.exit("a", SEGV)
    error = play.refused[play.ask(A)]
    assert isinstance(error, Busy)
    assert error.retry_after == 16
    assert "failed 6 times in a row" in error.message
    assert SEGV in error.message


def test_during_a_short_back_off_requests_wait() -> None:
    play = Play()
    for _ in range(2):
        play.idle(A)
        play.exit("a", SEGV)
    ticket = play.ask(A)
    assert play.running() == ""
    play.wait(1)
    play.ready("a")
    assert play.granted[-1] == ticket


def test_waiters_are_told_when_a_crash_starts_a_long_back_off() -> None:
    play = Play()
    for _ in range(4):
        play.idle(A)
        play.exit("a", SEGV)
        play.wait(4)
    play.up(A)
    waiter = play.ask(A)
    play.exit("a", SEGV)
    assert isinstance(play.refused[waiter], Busy)


def test_x01_a_crash_while_loading_is_retried_once_for_those_who_wait() -> None:
    play = Play()
    ticket = play.ask(A)
    play.exit("a", SEGV)
    assert play.running() == "A"
    play.exit("a", SEGV)
    error = play.refused[ticket]
    assert isinstance(error, LoadFailed)
    assert SEGV in error.message


def test_a_failed_load_tells_everybody_why_and_backs_off() -> None:
    play = Play()
    tickets = [play.ask(A), play.ask(A)]
    play.fail_load("a", "unknown architecture 'x'")
    for ticket in tickets:
        error = play.refused[ticket]
        assert isinstance(error, LoadFailed)
        assert error.message == "model failed to load: unknown architecture 'x'"
    assert play.said("error") == ["a load-failed"]
    later = play.ask(A)
    assert play.running() == ""
    play.wait(1)
    assert play.running() == "A"
    assert later not in play.outcomes


def test_x12_a_failed_load_does_not_hurt_who_waits_for_another_model() -> None:
    play = Play(budget=4)
    first = play.ask(A)
    second = play.ask(B)
    play.fail_load("a")
    assert first in play.refused
    assert play.running() == "B"
    play.ready("b")
    assert play.granted == [second]


def test_a_declared_model_that_cannot_be_loaded_is_tried_again_ever_less_often() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    play.fail_load("a")
    play.wait(0.99)
    assert play.running() == ""
    play.wait(0.02)
    play.fail_load("a")
    play.wait(1.9)
    assert play.running() == ""
    assert "failed to load: bad file; tried again in" in play.state.board.entries[A.key].waiting
    play.wait(0.2)
    assert play.running() == "A"


def test_a_load_that_runs_out_of_memory_is_tried_once_more_with_everything_idle_evicted() -> None:
    play = Play()
    play.idle(B)
    ticket = play.ask(A)
    play.fail_load("a", oom=True)
    assert play.running() == "-b"
    assert ticket not in play.outcomes
    play.exit("b")
    assert play.running() == "A"
    play.fail_load("a", "no memory for cells", oom=True)
    error = play.refused[ticket]
    assert isinstance(error, DoesNotFit)
    assert "model 'a' does not fit: it ran out of memory (no memory for cells)" in error.message
    assert "it needs 4.0 GiB (weights 4.0 GiB" in error.message
    assert "the memory budget is 10.0 GiB" in error.message
    assert error.retry_after == 60
    assert play.said("unload") == ["b evicted"]
    assert play.said("error") == ["a out-of-memory"]


def test_a_load_that_runs_out_of_memory_with_nothing_to_evict_has_failed() -> None:
    play = Play()
    play.up(B)
    ticket = play.ask(A)
    play.fail_load("a", oom=True)
    assert ticket in play.refused


def test_a_model_found_not_to_fit_is_left_alone_for_an_ever_longer_cool_down() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    waits = []
    for _ in range(5):
        play.fail_load("a", oom=True)
        error = play.refused[play.ask(A)]
        assert isinstance(error, DoesNotFit)
        assert "does not fit: it ran out of memory (bad file)" in error.message
        assert f"it is tried again in {error.retry_after:.0f} s" in error.message
        waits.append(error.retry_after)
        play.wait(error.retry_after - 0.1)
        assert play.running() == ""
        play.wait(0.1)
        assert play.running() == "A"
    assert waits == [60, 120, 300, 600, 600]


def test_a_second_chance_that_works_is_all_there_is_to_it() -> None:
    play = Play()
    play.idle(B)
    ticket = play.ask(A)
    play.fail_load("a", oom=True)
    play.exit("b")
    play.ready("a")
    assert play.granted[-1] == ticket
    assert failures(play.state.board) == []


def test_x02_three_kills_for_memory_in_a_row_and_the_model_does_not_fit() -> None:
    play = Play()
    for _ in range(2):
        play.up(A)
        play.exit("a", "killed by the kernel: out of memory", out_of_memory=True)
        play.wait(1)
    waiter = play.ask(A)
    play.ready("a")
    play.cancel(play.ask(A))
    second = play.ask(A)
    play.exit("a", "killed by the kernel: out of memory", out_of_memory=True)
    assert waiter in play.granted
    error = play.refused[second]
    assert isinstance(error, DoesNotFit)
    assert "ran out of memory (killed by the kernel: out of memory)" in error.message
    assert "that happened 3 times in a row" in error.message
    assert play.said("error") == ["a out-of-memory"]
    play.wait(50)
    assert play.ask(A) in play.refused
    play.wait(10)
    for _ in range(2):
        play.up(A)
        play.exit("a", SEGV)
        play.wait(4)
    play.wait(4)
    play.up(A)
    play.exit("a", SEGV)
    assert isinstance(play.refused[play.ask(A)], Busy)
    assert not isinstance(play.refused[play.ticket], DoesNotFit)


def test_x02_another_crash_between_two_kills_begins_the_count_anew() -> None:
    play = Play()
    for killed in (True, True, False, True, True):
        play.idle(A)
        play.exit("a", "gone", out_of_memory=killed)
        play.wait(60)
    assert play.said("error") == []


def test_what_was_wrong_is_forgotten_after_ten_minutes_of_health_however_they_ended() -> None:
    play = Play()
    for _ in range(4):
        play.idle(A)
        play.exit("a", SEGV)
        play.wait(60)
    play.idle(A, keep_alive=1000.0)
    play.wait(1000)
    play.exit("a")
    play.ask(A)
    play.fail_load("a")
    assert play.state.board.entries[A.key].next_try == play.now + 1


def test_failed_loads_are_listed_until_one_works() -> None:
    play = Play()
    play.ask(A)
    play.fail_load("a", "unknown architecture")
    play.wait(5)
    play.ask(B)
    play.fail_load("b", "no cells", oom=True)
    first, second = failures(play.state.board)
    assert (first.model, first.memory, first.at, first.tries, first.next_try) == ("b", True, 5, 1, 65)
    assert (second.model, second.key, second.reason) == ("a", A.key, "failed to load: unknown architecture")
    assert (second.memory, second.at, second.tries, second.next_try) == (False, 0, 1, 1)
    play.up(A)
    assert [failure.model for failure in failures(play.state.board)] == ["b"]


def test_a_crash_while_loading_is_a_failed_load_too() -> None:
    play = Play()
    play.ask(A)
    play.exit("a", SEGV)
    play.exit("a", SEGV)
    [failure] = failures(play.state.board)
    assert (failure.reason, failure.tries) == (f"stopped unexpectedly: {SEGV}", 2)


def test_a_larger_context_that_fails_to_load_leaves_the_old_runner_serving() -> None:
    play = Play(budget=20)
    growing = model("g", 4, auto=True, per_context=True)
    play.idle(growing)
    big = play.ask(growing, num_ctx=3072)
    play.fail_load("g")
    assert big in play.refused
    assert play.running() == "g"
    assert play.ask(growing) in play.granted
    assert play.state.board.entries[growing.key].grown == 1024


def test_x03_the_load_deadline_follows_progress() -> None:
    play = Play(config=FleetConfig(load_timeout=10))
    ticket = play.ask(A)
    for _ in range(10):
        play.wait(9)
        play.do(lambda state: state.progress(play.runner("a").id, 0.5, play.now))
    assert play.running() == "A"
    play.wait(10)
    error = play.refused[ticket]
    assert isinstance(error, LoadFailed)
    assert error.message == "model failed to load: timed out waiting for the model to load"
    assert play.stopped[-1].error is not None


def test_a_load_timeout_of_infinity_never_strikes() -> None:
    play = Play(config=FleetConfig(load_timeout=float("inf")))
    play.ask(A)
    play.wait(1e9)
    assert play.running() == "A"


def test_x03_a_runner_that_sends_nothing_while_requests_are_in_flight_is_killed() -> None:
    play = Play(config=FleetConfig(stall_timeout=300))
    play.up(A)
    play.wait(299, heard=False)
    assert play.stopped == []
    play.wait(1, heard=False)
    assert play.stopped[-1].error is not None
    assert isinstance(play.stopped[-1].error, RunnerDied)
    assert "no progress for 300 s" in play.stopped[-1].error.message
    play.exit("a", "killed by signal 9 (SIGKILL)")
    assert play.said("unload") == ["a crash"]


def test_x03_a_runner_that_is_heard_of_is_never_taken_for_hung() -> None:
    play = Play(config=FleetConfig(stall_timeout=300))
    play.up(A)
    play.wait(10_000)
    assert play.stopped == []


def test_a_runner_that_answers_after_it_was_told_to_stop_is_not_believed() -> None:
    play = Play(config=FleetConfig(load_timeout=10))
    play.ask(A)
    play.wait(10)
    runner = play.runner("a")
    play.do(lambda state: state.progress(runner.id, 1.0, play.now))
    assert runner.deadline == 10


def test_a_draining_runner_that_crashes_is_not_restarted() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    play.ready("a")
    play.ask(A)
    play.wish()
    play.exit("a", SEGV)
    play.wait(1000)
    assert play.running() == ""


def test_the_story_of_a_model_says_what_happened_in_order() -> None:
    play = Play()
    play.idle(A)
    play.wait(300)
    play.exit("a")
    lines = [line.split("ago  ")[1] for line in play.state.board.entries[A.key].story.lines(play.now)]
    assert [line.split()[0] for line in lines] == ["loading", "ready", "stopping:", "unloaded:"]
