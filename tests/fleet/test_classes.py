"""Scheduling classes: whose turn it is, and how long one waits. Transcripts over FleetState."""

from __future__ import annotations

import math

import pytest

from powerd.errors import Busy, LoadFailed
from powerd.fleet.state import QUEUE_FULL
from powerd.fleet.terms import FleetConfig, SchedulingClass
from powerd.settings import load
from tests.fleet.play import Play, model

A, B = model("a", 4), model("b", 4)
INTERACTIVE = SchedulingClass(60.0, 4.0)
BATCH = SchedulingClass(600.0, 1.0)
CONFIG = FleetConfig(min_residency=0.0, classes={"interactive": INTERACTIVE, "batch": BATCH})


def drain(play: Play) -> list[int]:
    """End the requests that run, one after the other, until nobody waits; the order in which they were served."""
    first = len(play.granted)
    while play.waiting():
        play.release(play.granted[-1])
    return play.granted[first:]


def test_within_a_class_the_first_to_come_is_the_first_served() -> None:
    play = Play(config=CONFIG)
    play.up(A)
    tickets = [play.ask(A, scheduling_class="batch") for _ in range(10)]
    assert drain(play) == tickets


def test_interactive_requests_come_before_batch_requests_that_wait() -> None:
    play = Play(config=CONFIG)
    play.up(A)
    batch = [play.ask(A, scheduling_class="batch") for _ in range(3)]
    late = play.ask(A)
    assert drain(play) == [late, *batch]


def test_two_classes_that_both_wait_share_the_turns_by_weight() -> None:
    play = Play(config=CONFIG)
    play.up(A)
    batch = {play.ask(A, scheduling_class="batch") for _ in range(10)}
    for _ in range(40):
        play.ask(A)
    served = drain(play)
    for start in range(0, 50, 5):
        assert len(batch.intersection(served[start : start + 5])) == 1


def test_a_steady_stream_of_interactive_requests_does_not_starve_a_batch_request() -> None:
    play = Play(config=CONFIG)
    play.up(A)
    play.ask(A)
    waiter = play.ask(A, scheduling_class="batch")
    before = len(play.granted)
    while waiter not in play.granted:
        play.ask(A)
        play.release(play.granted[-1])
    assert len(play.granted) - before <= 2 * INTERACTIVE.weight / BATCH.weight + 1


def test_requests_that_went_away_are_not_counted_against_their_class() -> None:
    play = Play(config=CONFIG)
    play.up(A)
    for ticket in [play.ask(A, scheduling_class="batch") for _ in range(100)]:
        play.cancel(ticket)
    waiter = play.ask(A, scheduling_class="batch")
    for _ in range(8):
        play.ask(A)
    assert waiter in drain(play)[:5]


def test_a_model_serves_those_before_a_request_for_its_room_and_no_more() -> None:
    play = Play(budget=4, config=CONFIG)
    holder = play.up(A)
    batch = play.ask(B, scheduling_class="batch")
    tickets = [play.ask(A) for _ in range(10)]
    play.release(holder)
    while play.running() == "a":
        play.release(play.granted[-1])
    assert play.granted == [holder, *tickets[:3]]
    play.exit("a")
    play.ready("b")
    assert play.granted[-1] == batch


@pytest.mark.parametrize(("kind", "allowed"), [("interactive", 60.0), ("batch", 600.0)])
def test_a_request_is_refused_when_its_class_lets_it_wait_no_longer(kind: str, allowed: float) -> None:
    play = Play(config=CONFIG)
    play.up(A)
    ticket = play.ask(A, scheduling_class=kind)
    play.wait(allowed - 0.1)
    assert play.waiting() == [ticket]
    play.wait(0.1)
    error = play.refused[ticket]
    assert isinstance(error, Busy)
    assert f"came free for {allowed:.0f} s, and max_wait of the class {kind} is {allowed:g} s" in error.message
    assert 0 < error.retry_after <= allowed


def test_the_refusal_says_what_was_waited_for() -> None:
    play = Play(budget=4, config=CONFIG)
    play.up(A)
    ticket = play.ask(B)
    play.wait(60)
    assert play.refused[ticket].message.endswith("waiting for the room that 'a' still take")


def test_a_load_of_its_own_stops_the_clock_and_a_load_of_another_does_not() -> None:
    play = Play(budget=4, config=CONFIG)
    own = play.ask(A)
    other = play.ask(B)
    for _ in range(6):
        play.wait(50)
        play.do(lambda state: state.progress(play.runner("a").id, 0.1, play.now))
    assert own in play.waiting()
    assert other in play.refused
    play.ready("a")
    assert play.granted == [own]


def test_what_was_waited_before_a_load_counts_after_it() -> None:
    play = Play(budget=4, config=CONFIG)
    holder = play.up(A)
    first, second = play.ask(B), play.ask(B)
    play.wait(50)
    play.release(holder)
    play.exit("a")
    play.wait(100)
    play.ready("b")
    assert first in play.granted
    play.wait(9.9)
    assert second in play.waiting()
    play.wait(0.1)
    assert second in play.refused


def test_a_load_that_stalls_ends_the_wait_of_everybody_it_was_for() -> None:
    play = Play(config=FleetConfig(load_timeout=30, classes=CONFIG.classes))
    tickets = [play.ask(A), play.ask(A, scheduling_class="batch")]
    play.wait(30)
    assert all(isinstance(play.refused[ticket], LoadFailed) for ticket in tickets)


def test_no_limit_is_no_limit() -> None:
    play = Play(config=FleetConfig(classes={"interactive": SchedulingClass(math.inf)}))
    play.up(A)
    ticket = play.ask(A)
    play.wait(50_000)
    assert play.waiting() == [ticket]


def test_a_full_queue_of_one_class_does_not_refuse_the_other() -> None:
    play = Play(config=FleetConfig(max_queue=2))
    play.up(A)
    batch = [play.ask(A, scheduling_class="batch") for _ in range(3)]
    assert play.refused[batch[2]].message == QUEUE_FULL
    assert play.ask(A) in play.waiting()


def test_the_classes_of_powerd_yaml_are_the_fleets() -> None:
    settings = load({}, {}, {"classes": {"batch": {"max_wait": "2h", "weight": 0.5}, "interactive": {"max_wait": 0}}})
    classes = FleetConfig.of(settings).classes
    assert classes == {"interactive": SchedulingClass(math.inf, 8.0), "batch": SchedulingClass(7200.0, 0.5)}


def test_powerd_yaml_left_alone_means_the_defaults() -> None:
    assert FleetConfig.of(load({}, {}, {})).classes == FleetConfig().classes
