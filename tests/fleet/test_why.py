"""What `why REQUEST` says: transcripts over FleetState."""

from __future__ import annotations

from powerd.errors import Busy
from powerd.fleet.terms import FleetConfig
from powerd.fleet.why import why_request
from tests.fleet.play import Play, model

A, B = model("a", 4), model("b", 4)


def why(play: Play) -> list[str]:
    return why_request(play.state.board, "r1", play.now)


def test_nothing_is_said_of_a_request_that_is_not_here() -> None:
    play = Play()
    play.up(A, request_id="r2")
    assert why(play) == []


def test_a_request_that_runs_says_where_and_since_when() -> None:
    play = Play()
    play.up(A, request_id="r1", scheduling_class="batch")
    play.wait(3)
    assert why(play) == [
        "it runs on 'a' since 3.0 s, in the class batch",
        "the runner is ended if it sends nothing for 300 s",
    ]


def test_a_request_for_a_model_that_loads_says_how_far_that_is_and_when_it_is_given_up() -> None:
    play = Play(config=FleetConfig(load_timeout=100))
    play.ask(A, request_id="r1")
    play.do(lambda state: state.progress(1, 0.4, play.now))
    play.wait(10)
    assert why(play) == [
        "it waits for a place on 'a' since 10.0 s, in the class interactive",
        "it is the next in the queue",
        "'a' is loading and 40 % there; the load is ended if it reports no progress for 90 s",
        "after the load it may wait 600 s more",
    ]


def test_a_request_behind_others_says_its_place_and_who_holds_the_places() -> None:
    play = Play()
    play.up(A)
    play.ask(A)
    play.wait(20)
    play.ask(A)
    play.ask(A, request_id="r1", deadline_s=30)
    play.wait(5)
    assert why(play) == [
        "it waits for a place on 'a' since 5.0 s, in the class interactive",
        "2 requests of this model come before it",
        "'a' is loaded and 1 of 1 places are taken, the longest since 25.0 s",
        "it is refused in 595 s if it has no place by then",
        "it gives up by itself in 25 s",
    ]


def test_a_request_whose_model_has_no_room_says_whose_room_it_waits_for() -> None:
    play = Play(budget=6)
    play.up(A)
    play.ask(B, request_id="r1")
    assert "waiting for the room that 'a' still take" in why(play)


def test_a_request_on_a_model_that_must_yield_says_to_whom() -> None:
    two = model("a", 4, parallel=2)
    play = Play(budget=6, config=FleetConfig(min_residency=0))
    play.up(two)
    play.ask(B)
    play.ask(two, request_id="r1")
    assert "'a' is loaded and has to make room for 'b', asked for before" in why(play)


def test_a_request_whose_load_ran_out_of_memory_says_what_must_go_first() -> None:
    play = Play()
    play.idle(B)
    play.ask(A, request_id="r1")
    play.fail_load("a", oom=True)
    assert "its load ran out of memory and begins again when 'b' is gone" in why(play)


def test_a_request_on_a_runner_that_drains_says_so() -> None:
    play = Play()
    play.up(A, request_id="r1")
    play.do(lambda state: state.shut_down(lambda: Busy("stopping"), play.now))
    assert why(play)[-1] == "the runner is unloaded when its requests have ended (shutdown)"
