"""What listings show of runners."""

from __future__ import annotations

import math

import pytest

from powerd.fleet.terms import RunnerView
from powerd.fleet.views import overrides, views
from tests.fleet.play import GIB, Play, model, wish

A = model("a", 4, parallel=2)


def shown(play: Play) -> list[RunnerView]:
    return views(play.state.board, {1: 4711}, play.now)


def test_a_loading_runner_shows_its_reservation_progress_and_a_foretold_expiry() -> None:
    play = Play()
    play.wait(10)
    play.ask(A)
    play.do(lambda state: state.progress(1, 0.25, play.now))
    [view] = shown(play)
    assert (view.state, view.pid, view.progress, view.queued, view.requests) == ("loading", 4711, 0.25, 1, 0)
    assert view.size == 4 * GIB
    assert view.expires_at == play.now + 300


def test_a_ready_runner_shows_what_was_read_back() -> None:
    play = Play()
    play.ask(A)
    play.ready("a", size=5 * GIB)
    [view] = shown(play)
    assert (view.state, view.size, view.context, view.parallel, view.requests) == ("ready", 5 * GIB, 1024, 2, 1)
    assert view.readback is not None
    assert view.digest == "a" * 64


@pytest.mark.parametrize(("keep_alive", "expires"), [(60.0, 160.0), (-1.0, None), (math.inf, None)])
def test_an_idle_runner_shows_when_it_goes(keep_alive: float, expires: float | None) -> None:
    play = Play()
    ticket = play.up(A, keep_alive=keep_alive)
    play.wait(100)
    play.release(ticket)
    play.wait(10)
    [view] = shown(play)
    assert view.expires_at == expires


def test_a_busy_runners_expiry_moves_with_the_clock() -> None:
    play = Play()
    play.up(A)
    play.wait(1000)
    assert shown(play)[0].expires_at == 1300


def test_draining_and_stopping_are_told_apart() -> None:
    play = Play()
    play.wish(wish(A, "coder", "gpt-4o"))
    ticket = play.up(A)
    play.wish()
    assert shown(play)[0].state == "draining"
    play.release(ticket)
    assert shown(play)[0].state == "stopping"
    assert shown(play)[0].expires_at == play.now


def test_a_runner_shows_every_name_it_serves() -> None:
    play = Play()
    play.wish(wish(A, "coder", "gpt-4o", loaded=True))
    assert shown(play)[0].names == ("coder", "gpt-4o")
    assert shown(play)[0].expires_at is None


def test_whose_hand_is_on_it_is_shown() -> None:
    play = Play()
    play.idle(A)
    assert shown(play)[0].override == ""
    play.release(play.ask(A, keep_alive=7.0))
    assert shown(play)[0].override == "keep_alive 7 s asked for by a client"
    play.release(play.ask(A, keep_alive=-1.0))
    assert shown(play)[0].override == "keep_alive for ever asked for by a client"
    play.load(A, hold=60)
    assert shown(play)[0].override == "loaded by the operator for 60 s more"
    play.load(A)
    assert shown(play)[0].override == "loaded by the operator until the next request"


def test_the_owner_of_an_override_and_its_end_are_shown() -> None:
    play = Play()
    play.idle(A, keep_alive=7.0)
    assert (shown(play)[0].override_owner, shown(play)[0].override_until) == ("client", None)
    play.load(A, hold=60)
    assert (shown(play)[0].override_owner, shown(play)[0].override_until) == ("operator", play.now + 60)


def test_an_override_is_listed_where_no_runner_is_left_to_show_it() -> None:
    play = Play()
    play.wish(wish(A, "coder", loaded=True))
    play.ready("a")
    play.unload(A, hold=30)
    play.exit("a")
    [hand] = overrides(play.state.board, play.now)
    assert (hand.model, hand.kind, hand.owner, hand.until) == ("coder", "stopped", "operator", 30)
    assert hand.message == "stopped by the operator for 30 s more"
    play.wait(30)
    assert overrides(play.state.board, play.now) == []


def test_a_runner_shows_what_each_device_holds_and_how_its_size_was_known() -> None:
    play = Play(budgets={"gpu0": 8}, places={"a": {"gpu0": 4, "cpu": 1}})
    play.idle(A, seconds=3)
    [view] = shown(play)
    assert {device: share.size for device, share in view.devices.items()} == {"gpu0": 4 * GIB, "cpu": GIB}
    assert (view.needs, view.loaded_at, view.load_seconds) == ("header", 3, 3)
