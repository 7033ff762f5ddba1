"""The forecast of a change of wishes, and that reality keeps to it."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from powerd.fleet.check import check
from powerd.fleet.entries import Phase, Runner
from powerd.fleet.foretell import foretell
from powerd.fleet.terms import FleetConfig, Forecast, Move, Wish
from tests.fleet.play import GIB, Play, model, wish

A, B, C = model("a", 4), model("b", 4, parallel=2), model("c", 4)


def told(play: Play, *wishes: Wish) -> Forecast:
    """The forecast, and proof that asking for it changed nothing."""
    before = repr(play.state.board.entries), play.state.due(play.now), play.state.board.ledger.devices
    forecast = foretell(play.state.board, {each.deployment.key: each for each in wishes}, play.now)
    assert (repr(play.state.board.entries), play.state.due(play.now), play.state.board.ledger.devices) == before
    check(play.state.board)
    assert play.state.board.take() == []
    return forecast


def moves(forecast: Forecast) -> list[str]:
    return [f"{move.kind} {move.model} {move.reason}" for move in forecast.moves]


def test_a_declared_model_is_going_to_be_loaded() -> None:
    play = Play()
    forecast = told(play, wish(A, "coder", loaded=True))
    [move] = forecast.moves
    assert move == Move("load", "coder", A.key, "declared", "1024 tokens of context for 1 at once", {"cpu": 4 * GIB})
    assert (forecast.before, forecast.after, forecast.waiting) == ({"cpu": 0}, {"cpu": 4 * GIB}, ())


def test_no_change_is_no_move() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    play.ready("a")
    forecast = told(play, wish(A, loaded=True))
    assert forecast.moves == ()
    assert forecast.before == forecast.after


def test_a_withdrawn_model_goes_when_its_requests_have_ended() -> None:
    play = Play()
    play.wish(wish(B, loaded=True))
    play.ready("b")
    play.ask(B)
    play.ask(B)
    [move] = told(play).moves
    assert (move.kind, move.reason, move.requests, move.bytes) == ("unload", "config", 2, {"cpu": 4 * GIB})
    assert play.running() == "b"


def test_a_changed_model_is_loaded_beside_the_old_one_or_after_it() -> None:
    new = model("n", 5)
    for budget, order in ((20, ["load coder declared", "unload coder config"]), (8, None)):
        play = Play(budget=budget)
        play.wish(wish(A, "coder", loaded=True))
        play.ready("a")
        play.ask(A)
        forecast = told(play, wish(new, "coder", loaded=True))
        assert moves(forecast) == (order or ["unload coder config", "load coder declared"])
        assert forecast.after == {"cpu": 5 * GIB}


def test_who_is_evicted_for_a_pin_is_named_with_the_reason() -> None:
    play = Play(budget=6)
    play.idle(A)
    play.wait(5)
    forecast = told(play, wish(C, pinned=True))
    assert moves(forecast) == ["unload a evicted", "load c declared"]
    assert forecast.moves[0].why.startswith("evicted for c: of priority 0, idle for 5.0 s")


def test_what_will_not_be_loaded_says_why() -> None:
    play = Play(budget=6)
    play.up(A)
    forecast = told(play, wish(C, loaded=True), wish(model("x", 7), loaded=True))
    assert moves(forecast) == []
    waiting = dict(forecast.waiting)
    assert waiting["c"].startswith("waiting for room")
    assert "needs 7.0 GiB" in waiting["x"]


def test_a_request_that_gets_its_room_by_the_change_is_foretold_too() -> None:
    play = Play(budget=6)
    play.wish(wish(A, "coder", pinned=True, loaded=True), wish(B, "chat"))
    play.ready("a")
    play.wish(wish(A, "coder", loaded=True))
    play.ask(A)
    play.ask(C)
    assert moves(told(play)) == ["unload coder config", "load c request"]


def test_what_is_under_way_is_no_part_of_the_change() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    assert play.running() == "A"
    forecast = told(play, wish(A, loaded=True), wish(B, loaded=True))
    assert moves(forecast) == ["load b declared"]
    assert forecast.after == {"cpu": 8 * GIB}


def test_a_failing_model_waits_for_its_next_try() -> None:
    play = Play()
    play.wish(wish(A, loaded=True))
    play.fail_load("a")
    forecast = told(play, wish(A, loaded=True))
    assert moves(forecast) == []
    assert "failed to load: bad file; tried again in 1 s" in dict(forecast.waiting)["a"]


# ---------------------------------------------------------------- and then it happens

MODELS = {
    "a": model("a", 3),
    "b": model("b", 4, parallel=2),
    "c": model("c", 5),
    "g": model("g", 2, auto=True, per_context=True),
    "p": model("p"),
    "q": model("q"),
    "x": model("x", 12),
}
PLACES = {"p": {"gpu0": 4, "cpu": 1}, "q": {"gpu0": 3}}
NAMES = st.sampled_from(sorted(MODELS))
WISHES = st.lists(
    st.builds(
        lambda name, loaded, pinned, priority: wish(MODELS[name], loaded=loaded, pinned=pinned, priority=priority),
        NAMES,
        st.booleans(),
        st.booleans(),
        st.integers(0, 2),
    ),
    unique_by=lambda each: each.names,
    max_size=5,
)


def unsettled(play: Play) -> Runner | None:
    runners = play.state.board.runners.values()
    return next((runner for runner in runners if runner.phase is not Phase.READY or runner.leaving), None)


def happen(play: Play) -> None:
    """Everything begun is done at once, the oldest runner first; requests on what has to go end."""
    while (runner := unsettled(play)) is not None:
        name = runner.deployment.weights_digest[0]
        if runner.phase is Phase.LOADING:
            play.ready(name, devices=runner.need.by_device)
        elif runner.phase is Phase.STOPPING:
            play.exit(name)
        else:
            for ticket in list(runner.leases):
                play.release(ticket)


@given(
    first=WISHES,
    asked=st.lists(st.tuples(NAMES, st.booleans(), st.sampled_from([None, 4096])), max_size=6),
    then=WISHES,
    count=st.sampled_from([0, 0, 2]),
    seconds=st.sampled_from([0, 30]),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_what_happens_is_what_was_foretold(
    first: list[Wish], asked: list[tuple[str, bool, int | None]], then: list[Wish], count: int, seconds: int
) -> None:
    play = Play(10, {"gpu0": 6}, PLACES, FleetConfig(max_loaded_models=count))
    play.wish(*first)
    happen(play)
    for name, ends, num_ctx in asked:
        ticket = play.ask(MODELS[name], num_ctx=num_ctx)
        happen(play)
        if ends and ticket in play.granted:
            play.release(ticket)
            happen(play)
    play.wait(seconds)
    happen(play)
    forecast = told(play, *then)
    loads, stops = len(play.spawned), len(play.stopped)
    play.wish(*then)
    happen(play)
    ledger = play.state.board.ledger
    assert {device: ledger.reserved(device) for device in ledger.devices} == forecast.after
    done = [spawn.deployment.key for spawn in play.spawned[loads:]]
    assert [move.key for move in forecast.moves if move.kind == "load"] == done
    assert sum(move.kind == "unload" for move in forecast.moves) == len(play.stopped) - stops
