"""Several devices, the order of eviction and minimum residency: transcripts over FleetState."""

from __future__ import annotations

import pytest

from powerd.errors import DoesNotFit
from powerd.fleet.terms import FleetConfig
from tests.fleet.play import GIB, Play, model, wish

A, B, C, D = (model(name) for name in "abcd")
PROMPT = FleetConfig(min_residency=0.0)


def two_devices(places: dict[str, dict[str, int]], config: FleetConfig = PROMPT) -> Play:
    """10 GiB of cpu, 8 GiB each of gpu0 and gpu1."""
    return Play(10, {"gpu0": 8, "gpu1": 8}, places, config)


# ---------------------------------------------------------------- devices


def test_models_on_different_devices_do_not_get_in_each_others_way() -> None:
    play = two_devices({"a": {"gpu0": 8}, "b": {"gpu1": 8}, "c": {"cpu": 10}})
    for deployment in (A, B, C):
        play.idle(deployment)
    assert play.running() == "a b c"


def test_only_who_frees_the_device_that_lacks_is_evicted() -> None:
    play = two_devices({"a": {"cpu": 2}, "b": {"gpu1": 8}, "c": {"gpu0": 6}, "d": {"gpu0": 4, "cpu": 1}})
    for deployment in (A, B, C):
        play.idle(deployment)
        play.wait(1)
    play.ask(D)
    assert play.running() == "a b -c"


def test_room_on_every_device_is_made_and_awaited() -> None:
    play = two_devices({"a": {"gpu0": 6}, "b": {"gpu1": 6}, "d": {"gpu0": 4, "gpu1": 4}})
    play.idle(A)
    play.idle(B)
    ticket = play.ask(D)
    assert play.running() == "-a -b"
    play.exit("a")
    assert play.running() == "-b"
    play.exit("b")
    play.ready("d")
    assert play.granted[-1] == ticket


def test_a_wait_names_the_device_and_who_holds_it() -> None:
    play = two_devices({"a": {"gpu0": 6}, "b": {"gpu1": 6}, "d": {"gpu0": 4}})
    play.up(A)
    play.up(B)
    play.ask(D)
    assert play.state.board.entries[D.key].waiting == "waiting for the room that 'a' still take on gpu0"


def test_what_one_device_can_never_hold_is_refused_with_the_numbers_of_that_device() -> None:
    play = two_devices({"a": {"gpu0": 9, "cpu": 1}})
    error = play.refused[play.ask(A)]
    assert isinstance(error, DoesNotFit)
    assert "it needs 10.0 GiB" in error.message
    assert "9.0 GiB on gpu0, 1.0 GiB on cpu" in error.message
    assert "the memory budget of gpu0 is 8.0 GiB" in error.message


def test_a_device_that_is_not_there_has_no_room() -> None:
    play = two_devices({"a": {"gpu7": 1}})
    assert "the memory budget of gpu7 is 0 B" in play.refused[play.ask(A)].message


def test_only_pins_on_the_same_device_stand_in_the_way() -> None:
    play = two_devices({"a": {"gpu0": 6}, "b": {"gpu1": 6}, "c": {"gpu1": 8}})
    play.wish(wish(A, "coder", pinned=True), wish(B, "chat", pinned=True))
    play.ready("a")
    play.ready("b")
    message = play.refused[play.ask(C)].message
    assert "6.0 GiB are held by 'chat', pinned by keep_alive: always" in message
    assert "coder" not in message


def test_a_claim_on_one_device_leaves_the_others_free() -> None:
    play = two_devices({"a": {"gpu0": 6}, "b": {"gpu0": 8}, "c": {"gpu1": 4}, "d": {"gpu0": 2}})
    play.up(A)
    play.ask(B)
    play.ask(C)
    play.ask(D)
    assert play.running() == "a C"


def test_what_was_measured_counts_device_by_device() -> None:
    play = two_devices({"a": {"gpu0": 4, "cpu": 1}, "b": {"gpu0": 3}})
    play.ask(A)
    play.ready("a", devices={"gpu0": 6 * GIB, "cpu": GIB // 2})
    ledger = play.state.board.ledger
    assert (ledger.reserved("gpu0"), ledger.reserved("cpu")) == (6 * GIB, GIB)
    play.ask(B)
    assert play.running() == "a"


def test_a_device_that_appears_is_used_by_who_waited_for_it() -> None:
    play = Play(places={"a": {"gpu0": 4}}, config=PROMPT)
    play.wish(wish(A, loaded=True))
    assert play.running() == ""
    play.do(lambda state: state.budgets({"cpu": 10 * GIB, "gpu0": 8 * GIB}, play.now))
    assert play.running() == "A"


def test_seats_are_freed_by_whoever_goes_first_whatever_device_they_hold() -> None:
    places = {"a": {"gpu0": 6}, "b": {"gpu1": 6}, "c": {"cpu": 1}}
    play = two_devices(places, FleetConfig(max_loaded_models=2))
    play.idle(A)
    play.wait(1)
    play.idle(B)
    play.ask(C)
    assert play.running() == "-a b C"


# ---------------------------------------------------------------- who leaves


def test_of_two_equally_idle_models_the_one_that_loads_faster_leaves() -> None:
    play = Play(budget=2)
    play.idle(A, seconds=60)
    play.idle(B, seconds=2)
    play.wait(30)
    play.ask(C)
    assert play.running() == "a -b"


def test_a_slow_model_leaves_when_it_has_idled_so_much_longer() -> None:
    play = Play(budget=2, config=FleetConfig(keep_alive=1e9))
    play.idle(A, seconds=60)
    play.wait(3600)
    play.idle(B, seconds=2)
    play.wait(100)
    play.ask(C)
    assert play.running() == "-a b"


def test_priority_comes_before_the_cost_of_a_reload() -> None:
    play = Play(budget=2)
    play.wish(wish(A, priority=1), wish(B, priority=2))
    play.idle(A, seconds=60)
    play.idle(B, seconds=1)
    play.wait(30)
    play.ask(C)
    assert play.running() == "-a b"


def test_the_reason_of_an_eviction_names_priority_idleness_and_cost() -> None:
    play = Play(budget=1)
    play.idle(A, seconds=2.5)
    play.wait(30)
    play.ask(B)
    play.exit("a")
    [message] = [event.message for event in play.events if event.kind == "unload"]
    assert message.endswith(
        "evicted for b: of priority 0, idle for 30.0 s and loaded in 2.5 s, it had the least to lose"
    )


# ---------------------------------------------------------------- residency


@pytest.mark.parametrize(("seconds", "residency"), [(0.5, 2.0), (12.0, 12.0), (100.0, 30.0)])
def test_a_fresh_model_serves_its_own_queue_for_two_seconds_or_as_long_as_it_took_to_load(
    seconds: float, residency: float
) -> None:
    play = Play(budget=1, config=FleetConfig(min_residency=2.0))
    play.up(A, seconds=seconds)
    waiter = play.ask(B)
    served = 0
    while play.running() == "a":
        play.ask(A)
        play.wait(0.5)
        play.release(play.granted[-1])
        served += 1
    assert served == residency / 0.5
    play.exit("a")
    play.ready("b")
    assert play.granted[-1] == waiter


def test_a_fresh_model_that_nobody_waits_for_yields_at_once() -> None:
    play = Play(budget=1, config=FleetConfig(min_residency=2.0))
    play.idle(A, seconds=20)
    play.ask(B)
    assert play.running() == "-a"
