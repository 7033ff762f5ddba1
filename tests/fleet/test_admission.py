"""Who comes into memory and who leaves for it: transcripts over FleetState."""

from __future__ import annotations

import pytest

from powerd.errors import DoesNotFit
from powerd.fleet.terms import FleetConfig
from tests.fleet.play import Play, model, read_back, wish

A, B, C = model("a", 4), model("b", 4), model("c", 4)
PROMPT = FleetConfig(min_residency=0.0)


def test_two_models_that_fit_together_are_never_swapped() -> None:
    play = Play(budget=8)
    for deployment in [A, B] * 10:
        if deployment.weights_digest[0] in play.running():
            play.release(play.ask(deployment))
        else:
            play.idle(deployment)
    assert play.running() == "a b"
    assert play.stopped == []


def test_x12_the_least_recently_used_idle_model_is_evicted_and_the_load_waits_until_it_is_gone() -> None:
    play = Play(budget=8)
    play.idle(A)
    play.wait(1)
    play.idle(B)
    play.wait(1)
    play.release(play.ask(A))
    ticket = play.ask(C)
    assert play.running() == "a -b"
    play.exit("b")
    assert play.running() == "a C"
    play.ready("c")
    assert play.granted[-1] == ticket
    assert play.said("unload") == ["b evicted"]
    [message] = [event.message for event in play.events if event.kind == "unload"]
    assert message == (
        "unloaded: evicted for c: of priority 0, idle for 1.0 s and loaded in 0.0 s, it had the least to lose"
    )


def test_lower_priority_is_evicted_before_longer_idle() -> None:
    play = Play(budget=8)
    play.wish(wish(A, priority=5), wish(B, priority=1))
    play.idle(A)
    play.wait(1)
    play.idle(B)
    play.ask(C)
    assert play.running() == "a -b"


def test_a_model_declared_loaded_is_evicted_after_one_that_is_not() -> None:
    play = Play(budget=8)
    play.wish(wish(A, loaded=True))
    play.ready("a")
    play.wait(1)
    play.idle(B)
    play.ask(C)
    assert play.running() == "a -b"


def test_several_are_evicted_when_that_makes_it_fit_and_no_more_than_needed() -> None:
    play = Play(budget=10)
    small = [model(name, gib) for name, gib in (("s", 1), ("t", 4), ("u", 3), ("v", 2))]
    for deployment in small:
        play.idle(deployment)
        play.wait(1)
    play.ask(model("x", 7))
    assert play.running() == "s -t -u v"


def test_nothing_is_evicted_for_what_can_never_fit() -> None:
    play = Play(budget=8)
    play.idle(A)
    ticket = play.ask(model("x", 9))
    error = play.refused[ticket]
    assert isinstance(error, DoesNotFit)
    assert "needs 9.0 GiB" in error.message
    assert "the memory budget is 8.0 GiB" in error.message
    assert error.retry_after > 0
    assert play.running() == "a"


def test_x12_a_busy_model_is_never_evicted() -> None:
    play = Play(budget=8)
    first, second = play.up(A), play.up(B)
    play.wait(60)
    ticket = play.ask(C)
    assert play.running() == "a b"
    play.wait(60)
    assert ticket not in play.outcomes
    play.release(second)
    assert play.running() == "a -b"
    play.exit("b")
    play.ready("c")
    assert play.granted[-1] == ticket
    play.release(first)


def test_x12_a_loading_model_is_never_evicted() -> None:
    play = Play(budget=4, config=PROMPT)
    first = play.ask(A)
    second = play.ask(B)
    assert play.running() == "A"
    play.ready("a")
    assert play.granted == [first]
    play.release(first)
    play.exit("a")
    play.ready("b")
    assert play.granted == [first, second]


def test_x12_a_steady_stream_to_one_model_does_not_starve_another() -> None:
    play = Play(budget=4)
    holder = play.up(A)
    play.wait(60)
    older = play.ask(A)
    waiter = play.ask(B)
    newer = play.ask(A)
    play.release(holder)
    assert play.granted == [holder, older]
    play.release(older)
    assert newer not in play.granted
    assert play.running() == "-a"
    play.exit("a")
    play.ready("b")
    assert play.granted[-1] == waiter
    play.wait(2)
    play.release(waiter)
    play.exit("b")
    play.ready("a")
    assert play.granted[-1] == newer


def test_x12_a_fresh_model_serves_its_own_queue_for_the_minimum_residency() -> None:
    play = Play(budget=4, config=FleetConfig(min_residency=2.0))
    tickets = [play.ask(deployment) for deployment in [A, B] * 50]
    swaps = 0
    while len(play.outcomes) < 100:
        name = play.running()
        if name.isupper():
            play.ready(name.lower())
            swaps += 1
        elif name.startswith("-"):
            play.exit(name[1:])
        else:
            play.wait(0.1)
            play.release(play.granted[-1])
    assert sorted(play.granted) == tickets
    assert 2 <= swaps <= 8


def test_x12_two_waiters_share_one_eviction() -> None:
    play = Play(budget=8)
    play.idle(A)
    play.wait(1)
    play.idle(B)
    play.ask(model("c", 2))
    play.ask(model("d", 2))
    assert play.running() == "-a b"
    play.exit("a")
    assert play.running() == "b C D"


def test_x12_disconnecting_before_the_eviction_keeps_the_busy_model() -> None:
    play = Play(budget=4)
    holder = play.up(A)
    play.wait(60)
    waiter = play.ask(B)
    newer = play.ask(A)
    play.cancel(waiter)
    play.release(holder)
    assert play.granted == [holder, newer]
    assert play.stopped == []


def test_a_later_small_request_does_not_take_the_room_an_earlier_one_waits_for() -> None:
    play = Play(budget=10, config=PROMPT)
    holder = play.up(model("a", 6))
    big = play.ask(model("b", 8))
    small = play.ask(model("c", 3))
    assert play.running() == "a"
    play.release(holder)
    play.exit("a")
    assert play.running() == "B"
    play.ready("b")
    play.release(big)
    play.exit("b")
    play.ready("c")
    assert play.granted == [holder, big, small]


def test_a_later_small_request_is_loaded_where_it_is_in_nobodys_way() -> None:
    play = Play(budget=10, config=PROMPT)
    play.up(model("a", 6))
    play.ask(model("b", 5))
    play.ask(model("c", 4))
    assert play.running() == "a C"


def test_a_pinned_model_is_never_evicted_and_named_to_who_cannot_be_loaded() -> None:
    play = Play(budget=8)
    play.wish(wish(A, "coder", pinned=True, loaded=True))
    play.ready("a")
    play.idle(B)
    error = play.refused[play.ask(model("x", 5))]
    assert isinstance(error, DoesNotFit)
    assert "4.0 GiB are held by 'coder', pinned by keep_alive: always" in error.message
    assert play.running() == "a b"


def test_the_number_of_models_is_limited_when_that_is_asked_for() -> None:
    play = Play(budget=100, config=FleetConfig(max_loaded_models=2))
    play.idle(A)
    play.wait(1)
    play.idle(B)
    play.ask(C)
    assert play.running() == "-a b C"


def test_the_number_of_models_waits_for_a_busy_one() -> None:
    play = Play(budget=100, config=FleetConfig(max_loaded_models=1, min_residency=0.0))
    holder = play.up(A)
    ticket = play.ask(B)
    assert play.running() == "a"
    play.release(holder)
    assert play.running() == "-a B"
    play.ready("b")
    assert play.granted == [holder, ticket]


def test_the_number_of_models_taken_by_pins_is_named() -> None:
    play = Play(budget=100, config=FleetConfig(max_loaded_models=1))
    play.wish(wish(A, "coder", pinned=True, loaded=True))
    play.ready("a")
    error = play.refused[play.ask(B)]
    assert isinstance(error, DoesNotFit)
    assert "max_loaded_models is 1 and 'coder' cannot be unloaded" in error.message


def test_what_a_runner_measures_above_its_estimate_counts_from_then_on() -> None:
    play = Play(budget=10)
    play.ask(A)
    play.ready("a", size=7 << 30)
    play.ask(B)
    assert play.running() == "a"
    assert play.state.board.ledger.reserved("cpu") == 7 << 30


def test_what_a_runner_measures_below_its_estimate_frees_nothing() -> None:
    play = Play(budget=10)
    play.ask(A)
    play.ready("a", size=1)
    assert play.state.board.ledger.reserved("cpu") == 4 << 30


# ---------------------------------------------------------------- context


GROWING = model("g", 4, auto=True, per_context=True)
FIXED = model("f", 4)


@pytest.mark.parametrize("num_ctx", [None, 1, 512, 1024])
def test_a_num_ctx_up_to_the_loaded_context_is_served_as_it_is(num_ctx: int | None) -> None:
    play = Play()
    play.idle(GROWING)
    assert play.ask(GROWING, num_ctx=num_ctx) in play.granted
    assert len(play.spawned) == 1


def test_an_explicit_context_is_served_at_the_declared_size() -> None:
    play = Play()
    play.idle(FIXED)
    assert play.ask(FIXED, num_ctx=9999) in play.granted


def test_a_declared_size_that_may_grow_grows_once_and_never_shrinks() -> None:
    play = Play(budget=6)
    fixed = model("f", 4, per_context=True)
    play.idle(fixed, request_options="grow")
    play.ask(fixed, num_ctx=2048, request_options="grow")
    play.exit("f")
    play.ready("f")
    play.release(play.granted[-1])
    for num_ctx in [1024, 2048, None] * 20:
        play.release(play.ask(fixed, num_ctx=num_ctx, request_options="grow"))
    assert [spawn.deployment.context for spawn in play.spawned] == [1024, 2048]


@pytest.mark.parametrize("options", ["declared", "reject"])
def test_an_automatic_size_that_may_not_grow_does_not(options: str) -> None:
    play = Play()
    for num_ctx in [1024, 8192] * 20:
        if play.running():
            play.release(play.ask(GROWING, num_ctx=num_ctx, request_options=options))
        else:
            play.idle(GROWING, num_ctx=num_ctx, request_options=options)
    assert [spawn.deployment.context for spawn in play.spawned] == [1024]


def test_a_larger_num_ctx_grows_the_model_beside_the_old_one_when_both_fit() -> None:
    play = Play(budget=20)
    old = play.up(GROWING)
    big = play.ask(GROWING, num_ctx=3072)
    assert play.running() == "g G"
    assert play.spawned[-1].deployment.context == 3072
    small = play.ask(GROWING)
    assert small not in play.granted
    play.ready("g")
    assert play.running() == "~g g"
    assert play.granted == [old, big]
    play.release(old)
    assert play.running() == "-g g"
    play.exit("g")
    assert play.said("unload") == ["g replaced"]
    play.release(big)
    assert play.granted[-1] == small


def test_a_smaller_runner_that_is_ready_first_serves_until_the_larger_one_is() -> None:
    play = Play(budget=20)
    small = play.ask(GROWING)
    big = play.ask(GROWING, num_ctx=3072)
    first, second = play.state.board.runners
    for number, tickets in ((first, [small]), (second, [small, big])):
        deployment = play.state.board.runners[number].deployment
        play.do(lambda state, n=number, d=deployment: state.ready(n, read_back(d), 1, play.now))  # type: ignore[misc]
        assert play.granted == tickets
    assert play.running() == "~g g"


def test_a_larger_runner_that_is_ready_first_serves_everybody() -> None:
    play = Play(budget=20)
    small = play.ask(GROWING)
    big = play.ask(GROWING, num_ctx=3072)
    play.ready("g")
    assert play.running() == "-g g"
    assert play.granted == [small]
    play.release(small)
    assert play.granted == [small, big]


def test_a_larger_num_ctx_drains_the_old_model_first_when_both_do_not_fit() -> None:
    play = Play(budget=6, config=PROMPT)
    old = play.up(GROWING)
    big = play.ask(GROWING, num_ctx=3072)
    small = play.ask(GROWING)
    assert play.running() == "g"
    play.release(old)
    assert play.running() == "-g"
    play.exit("g")
    assert play.running() == "G"
    play.ready("g")
    assert play.granted == [old, big]
    play.release(big)
    assert play.granted == [old, big, small]


def test_two_clients_that_alternate_their_num_ctx_cost_one_load_more_and_never_shrink() -> None:
    play = Play(budget=6)
    play.idle(GROWING, num_ctx=1024)
    play.ask(GROWING, num_ctx=2048)
    play.exit("g")
    play.ready("g")
    play.release(play.granted[-1])
    for _ in range(50):
        play.release(play.ask(GROWING, num_ctx=1024))
        play.release(play.ask(GROWING, num_ctx=2048))
    assert len(play.spawned) == 2
    play.wait(1000)
    play.exit("g")
    play.idle(GROWING)
    assert play.spawned[-1].deployment.context == 2048


def test_a_num_ctx_beyond_the_trained_context_counts_as_that() -> None:
    play = Play(budget=2000)
    play.ask(GROWING, num_ctx=1 << 30)
    assert play.spawned[-1].deployment.context == GROWING.shape.trained_context


def test_a_num_ctx_that_can_never_fit_is_refused_and_the_model_goes_on_as_it_is() -> None:
    play = Play(budget=6)
    play.idle(GROWING)
    ticket = play.ask(GROWING, num_ctx=9000)
    assert isinstance(play.refused[ticket], DoesNotFit)
    assert play.ask(GROWING) in play.granted
    assert len(play.spawned) == 1


def test_a_num_ctx_that_can_never_fit_does_not_hold_up_those_who_ask_for_less() -> None:
    play = Play(budget=6)
    play.wish(wish(A, pinned=True))
    play.ready("a")
    small_model = model("g", 2, auto=True, per_context=True)
    holder = play.ask(small_model, num_ctx=1024)
    big = play.ask(small_model, num_ctx=9000)
    assert big in play.refused
    play.ready("g")
    assert play.granted == [holder]


def test_of_several_num_ctx_the_largest_that_fits_is_loaded() -> None:
    play = Play(budget=6, config=PROMPT)
    holder = play.up(model("a", 4))
    tickets = [play.ask(GROWING, num_ctx=num_ctx) for num_ctx in (2048, 9000, 3072, 5000)]
    assert set(play.refused) == {tickets[1], tickets[3]}
    play.release(holder)
    play.exit("a")
    assert play.spawned[-1].deployment.context == 3072


def test_a_pinned_model_grows_too() -> None:
    play = Play(budget=6)
    play.wish(wish(GROWING, pinned=True))
    play.ready("g")
    ticket = play.ask(GROWING, num_ctx=2048)
    assert play.running() == "-g"
    play.exit("g")
    play.ready("g")
    assert play.granted == [ticket]


def test_a_grown_context_that_no_longer_fits_beside_the_pins_falls_back() -> None:
    play = Play(budget=10)
    play.idle(GROWING, num_ctx=5120)
    play.wait(301)
    play.exit("g")
    play.wish(wish(A, pinned=True))
    play.ready("a")
    play.idle(GROWING)
    assert play.spawned[-1].deployment.context == 1024


# ---------------------------------------------------------------- wishes


def test_a_model_declared_loaded_is_loaded_without_a_request_and_stays() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    play.ready("a")
    play.wait(100_000)
    assert play.running() == "a"


def test_wishes_are_met_pinned_first_then_by_priority_as_far_as_they_fit() -> None:
    play = Play(budget=8)
    play.wish(wish(A, loaded=True), wish(B, loaded=True, priority=9), wish(C, pinned=True))
    assert play.running() == "C B"


def test_a_wish_waits_for_room_and_is_met_when_there_is_some() -> None:
    play = Play(budget=6)
    play.idle(A)
    play.wish(wish(B, loaded=True))
    assert play.running() == "a"
    assert "waiting for room" in play.state.board.entries[B.key].waiting
    play.wait(300)
    assert play.running() == "-a"
    play.exit("a")
    assert play.running() == "B"


def test_a_wish_moves_what_idles_with_lower_priority() -> None:
    play = Play(budget=6)
    play.idle(A)
    play.wish(wish(B, loaded=True, priority=1))
    assert play.running() == "-a"


def test_a_wish_never_moves_what_is_in_use_or_loading() -> None:
    play = Play(budget=6)
    play.ask(A)
    play.wish(wish(B, pinned=True, priority=9))
    play.wait(100)
    assert play.running() == "A"
    play.ready("a")
    play.wait(100)
    assert play.running() == "a"


def test_a_pinned_wish_moves_whatever_idles() -> None:
    play = Play(budget=6)
    play.wish(wish(A, loaded=True, priority=9))
    play.ready("a")
    play.wish(wish(A, loaded=True, priority=9), wish(B, pinned=True))
    assert play.running() == "-a"
    play.exit("a")
    assert play.running() == "B"


def test_a_loaded_model_evicted_under_pressure_comes_back_when_there_is_room() -> None:
    play = Play(budget=6)
    play.wish(wish(A, loaded=True))
    play.ready("a")
    ticket = play.ask(B, keep_alive=0)
    assert play.running() == "-a"
    play.exit("a")
    play.ready("b")
    play.release(ticket)
    play.exit("b")
    assert play.running() == "A"


def test_a_request_comes_before_a_wish() -> None:
    play = Play(budget=4, config=PROMPT)
    holder = play.up(C)
    play.wish(wish(A, pinned=True, priority=9))
    ticket = play.ask(B)
    play.release(holder)
    play.exit("c")
    assert play.running() == "B"
    assert ticket not in play.refused


def test_a_wish_that_can_never_be_met_says_so_once() -> None:
    play = Play(budget=6)
    play.wish(wish(model("x", 7), loaded=True))
    play.wait(1000)
    assert play.said("error") == ["x does-not-fit"]
    assert "needs 7.0 GiB" in play.state.board.entries[model("x", 7).key].waiting
