"""FleetState: leases, queue, keep-alive. Transcripts of events and effects."""

from __future__ import annotations

import math

import pytest

from powerd.errors import Busy, Timeout
from powerd.fleet.state import QUEUE_FULL
from powerd.fleet.terms import FleetConfig, Reason, Want
from tests.fleet.play import Play, model, wish

A, B, C = model("a", 4), model("b", 4), model("c", 4)


def test_first_request_loads_the_model_and_gets_its_lease_when_it_is_ready() -> None:
    play = Play()
    ticket = play.ask(A)
    assert [spawn.deployment for spawn in play.spawned] == [A]
    assert play.granted == []
    play.ready("a")
    assert play.granted == [ticket]


def test_requests_that_arrive_while_loading_share_one_load() -> None:
    play = Play()
    two = model("a", 4, parallel=2)
    tickets = [play.ask(two) for _ in range(3)]
    play.ready("a")
    assert len(play.spawned) == 1
    assert play.granted == tickets[:2]


def test_names_with_one_deployment_share_the_runner() -> None:
    play = Play()
    play.idle(A, model="coder")
    second = play.ask(A, model="gpt-4o")
    assert second in play.granted
    assert len(play.spawned) == 1


def test_h28_fifo_and_the_queue_limit_with_ollamas_text() -> None:
    play = Play(config=FleetConfig(max_queue=512))
    holder = play.up(A)
    tickets = [play.ask(A) for _ in range(600)]
    assert play.waiting() == tickets[:512]
    assert set(play.refused) == set(tickets[512:])
    error = play.refused[tickets[-1]]
    assert isinstance(error, Busy)
    assert error.message == QUEUE_FULL == "server busy, please try again.  maximum pending requests exceeded"
    assert error.retry_after > 0
    play.release(holder)
    for ticket in tickets[:512]:
        assert play.granted[-1] == ticket
        play.release(ticket)


def test_h28_a_cancelled_waiter_leaves_the_queue_at_once() -> None:
    play = Play(config=FleetConfig(max_queue=1))
    holder = play.up(A)
    first = play.ask(A)
    play.cancel(first)
    second = play.ask(A)
    assert play.waiting() == [second]
    play.release(holder)
    assert play.granted == [holder, second]


def test_a_full_queue_does_not_stop_a_request_that_need_not_wait() -> None:
    play = Play(config=FleetConfig(max_queue=1))
    play.idle(B)
    play.up(A)
    play.ask(A)
    assert play.ask(B) in play.granted


def test_the_queue_is_bounded_also_where_a_free_place_is_kept_for_who_came_before() -> None:
    play = Play(config=FleetConfig(max_queue=1, min_residency=0.0))
    kept = model("a", 6, parallel=2)
    play.up(kept)
    before = play.ask(model("b", 6))
    late = play.ask(kept)
    assert play.waiting() == [before]
    assert isinstance(play.refused[late], Busy)


def test_a_refused_request_loads_and_evicts_nothing() -> None:
    play = Play(budget=8, config=FleetConfig(max_queue=1))
    play.idle(B)
    play.up(A)
    play.ask(A)
    late = play.ask(C)
    assert late in play.refused
    assert play.running() == "b a"


def test_a_waiter_past_its_deadline_is_told_so() -> None:
    play = Play()
    play.up(A)
    ticket = play.ask(A, deadline_s=2.0)
    play.wait(1.9)
    assert play.waiting() == [ticket]
    play.wait(0.2)
    assert isinstance(play.refused[ticket], Timeout)


def test_a_load_nobody_wants_any_more_goes_on() -> None:
    play = Play()
    play.cancel(play.ask(A))
    assert play.stopped == []
    play.ready("a")
    assert play.running() == "a"


def test_a_load_that_has_not_started_is_forgotten_with_its_requester() -> None:
    play = Play(budget=4)
    holder = play.up(A)
    play.cancel(play.ask(B))
    play.release(holder)
    assert play.running() == "a"
    assert len(play.spawned) == 1


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(None, 300.0), (10.0, 10.0), (0.0, 0.0), (-1.0, math.inf), (math.inf, math.inf)],
)
def test_keep_alive_counts_from_the_end_of_the_last_request(asked: float | None, seconds: float) -> None:
    play = Play()
    ticket = play.up(A, keep_alive=asked)
    play.wait(1000)
    assert play.running() == "a"
    play.release(ticket)
    if math.isinf(seconds):
        play.wait(10_000)
        assert play.running() == "a"
        return
    if seconds:
        play.wait(seconds - 0.01)
        assert play.running() == "a"
        play.wait(0.01)
    assert play.running() == "-a"
    play.exit("a")
    assert play.said("unload") == ["a idle"]


def test_keep_alive_is_sticky_and_a_new_request_restarts_the_clock() -> None:
    play = Play()
    play.idle(A, keep_alive=10)
    play.wait(9)
    play.release(play.ask(A))
    play.wait(9.99)
    assert play.running() == "a"
    play.wait(0.01)
    assert play.running() == "-a"


@pytest.mark.parametrize(
    ("wished", "offered", "seconds"), [(60.0, None, 60.0), (None, 20.0, 300.0), (None, None, 300.0)]
)
def test_keep_alive_of_the_wish_then_the_default(wished: float | None, offered: float | None, seconds: float) -> None:
    play = Play()
    play.wish(wish(A, keep_alive=wished))
    play.idle(A, default_keep_alive=offered)
    play.wait(seconds - 0.01)
    assert play.running() == "a"
    play.wait(0.02)
    assert play.running() == "-a"


def test_keep_alive_of_the_offer_holds_where_no_wish_covers_the_model() -> None:
    play = Play()
    play.idle(A, default_keep_alive=20.0)
    play.wait(20)
    assert play.running() == "-a"


@pytest.mark.parametrize("how", [{"loaded": True}, {"pinned": True}])
def test_a_declared_model_ignores_a_clients_keep_alive(how: dict[str, bool]) -> None:
    play = Play()
    play.wish(wish(A, **how))
    play.ready("a")
    ticket = play.ask(A, keep_alive=0.0)
    assert play.grants[ticket].keep_alive_ignored
    play.release(ticket)
    play.wait(10_000)
    assert play.running() == "a"
    answer = play.unload(A, Reason.IDLE)
    assert not answer
    assert "declared to stay loaded" in answer.reason
    assert not play.grants[play.ask(A, keep_alive=math.inf)].keep_alive_ignored


def test_a_clients_unload_waits_for_running_requests() -> None:
    play = Play()
    ticket = play.up(A)
    answer = play.unload(A, Reason.IDLE)
    assert answer
    assert "1 running" in answer.reason
    assert play.running() == "a"
    play.release(ticket)
    assert play.running() == "-a"


def test_unloading_what_is_not_loaded_is_done_already() -> None:
    assert Play().unload(A)


def test_an_operators_stop_outweighs_the_declaration_until_the_next_request() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    play.ready("a")
    assert play.unload(A)
    play.exit("a")
    assert play.said("unload") == ["a operator"]
    play.wait(1000)
    assert play.running() == ""
    play.idle(A)
    play.wait(1000)
    assert play.running() == "a"


def test_an_operators_stop_holds_for_the_seconds_it_names_although_requests_come() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    play.ready("a")
    play.unload(A, hold=100)
    play.exit("a")
    play.idle(A)
    assert play.running() == "-a"
    play.exit("a")
    play.wait(99)
    assert play.running() == ""
    play.wait(1)
    assert play.running() == "A"


def test_an_operators_stop_ends_when_the_declaration_changes() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    play.ready("a")
    play.unload(A)
    play.exit("a")
    play.wish(wish(A, loaded=True, priority=3))
    assert play.running() == "A"


def test_force_ends_a_busy_runner_at_once() -> None:
    play = Play()
    ticket = play.up(A)
    assert play.unload(A, force=True)
    assert play.stopped[-1].error is not None
    play.exit("a")
    play.release(ticket)
    assert play.said("unload") == ["a operator"]


def test_an_operators_load_holds_off_idleness() -> None:
    play = Play()
    ticket = play.load(A, hold=1000)
    play.ready("a")
    assert play.loaded == [ticket]
    play.release(play.ask(A, keep_alive=1.0))
    play.wait(900)
    assert play.running() == "a"
    play.wait(101)
    assert play.running() == "-a"


def test_a_load_of_a_busy_model_does_not_wait_for_a_place() -> None:
    play = Play()
    play.up(A)
    assert play.load(A) in play.loaded


def test_x11_shutting_down_refuses_waiters_and_lets_leases_end() -> None:
    play = Play()
    ticket = play.up(A)
    waiter = play.ask(A)
    play.idle(B)
    play.do(lambda state: state.shut_down(lambda: Busy("stopping"), play.now))
    assert isinstance(play.refused[waiter], Busy)
    assert play.running() == "~a -b"
    assert play.ask(B) in play.refused
    play.release(ticket)
    assert play.running() == "-a -b"
    play.exit("a")
    play.exit("b")
    assert play.said("unload") == ["a shutdown", "b shutdown"]


def test_x11_an_urgent_shut_down_ends_everything() -> None:
    play = Play()
    play.up(A)
    play.ask(B)
    play.do(lambda state: state.shut_down(lambda: Busy("stopping"), play.now, urgent=True))
    assert play.running() == "-a -b"
    assert all(stop.error is not None for stop in play.stopped)


def test_every_event_about_an_unknown_runner_or_ticket_is_harmless() -> None:
    play = Play()
    play.release(99)
    play.cancel(99)
    play.do(lambda state: state.exited(99, "exit status 0", 0.0))
    play.do(lambda state: state.progress(99, 0.5, 0.0))
    play.do(lambda state: state.load_failed(99, "", 0.0))
    assert play.events == []


def test_entries_nobody_needs_are_forgotten_when_there_are_many() -> None:
    play = Play()
    for number in range(400):
        play.do(lambda state, n=number: state.request(n + 1, Want(model(f"{n:064d}", 99), "x"), 0.0))  # type: ignore[misc]
    assert len(play.state.board.entries) <= 256
