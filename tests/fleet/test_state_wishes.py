"""What a change of the catalog does to running models: transcripts over FleetState."""

from __future__ import annotations

from powerd.fleet.terms import FleetConfig, Reason
from tests.fleet.play import Play, model, wish

OLD, NEW, OTHER = model("a", 4), model("b", 4), model("c", 4)
PROMPT = FleetConfig(min_residency=0.0)


def test_x10_a_changed_deployment_is_loaded_beside_the_old_one_when_both_fit() -> None:
    play = Play(budget=8)
    play.wish(wish(OLD, "coder", loaded=True))
    play.ready("a")
    stream = play.ask(OLD)
    play.wish(wish(NEW, "coder", loaded=True))
    assert play.running() == "~a B"
    play.ready("b")
    assert play.ask(NEW) in play.granted
    play.wait(100_000)
    assert play.running() == "~a b"
    play.release(stream)
    assert play.running() == "-a b"
    play.exit("a")
    assert play.said("unload") == ["coder config"]


def test_x10_a_changed_deployment_waits_for_the_old_one_to_drain_when_both_do_not_fit() -> None:
    play = Play(budget=4, config=PROMPT)
    play.wish(wish(OLD, "coder", loaded=True))
    play.ready("a")
    stream = play.ask(OLD)
    play.wish(wish(NEW, "coder", loaded=True))
    assert play.running() == "~a"
    request = play.ask(NEW)
    play.release(stream)
    assert play.running() == "-a"
    play.exit("a")
    assert play.running() == "B"
    play.ready("b")
    assert play.granted == [stream, request]


def test_x10_a_changed_deployment_that_was_loaded_on_demand_is_loaded_again() -> None:
    play = Play(budget=8)
    play.wish(wish(OLD, "coder"))
    play.idle(OLD)
    play.wish(wish(NEW, "coder"))
    assert play.running() == "-a B"


def test_a_changed_deployment_that_was_not_loaded_is_not_loaded() -> None:
    play = Play(budget=8)
    play.wish(wish(OLD, "coder"))
    play.wish(wish(NEW, "coder"))
    assert play.running() == ""


def test_x10_a_withdrawn_model_drains_and_is_unloaded_with_reason_config() -> None:
    play = Play()
    play.wish(wish(OLD, loaded=True))
    play.ready("a")
    stream = play.ask(OLD)
    play.wish()
    assert play.running() == "~a"
    play.release(stream)
    play.exit("a")
    assert play.running() == ""
    assert play.said("unload") == ["a config"]
    play.wait(1000)
    assert play.running() == ""


def test_x10_requests_that_waited_before_the_change_are_served_on_the_old_runner() -> None:
    play = Play(budget=4)
    play.wish(wish(OLD, "coder"))
    stream = play.up(OLD)
    waiter = play.ask(OLD)
    play.wish(wish(NEW, "coder"))
    play.release(stream)
    assert play.granted == [stream, waiter]
    play.release(waiter)
    assert play.running() == "-a"


def test_a_request_for_the_old_deployment_after_the_change_is_not_served_by_the_draining_runner() -> None:
    play = Play(budget=8)
    play.wish(wish(OLD, "coder"))
    stream = play.up(OLD)
    play.wish()
    late = play.ask(OLD)
    assert late not in play.granted
    play.release(stream)
    assert play.running() == "-a A"
    play.ready("a")
    assert play.granted == [stream, late]


def test_a_model_withdrawn_while_it_loads_is_stopped() -> None:
    play = Play()
    play.wish(wish(OLD, loaded=True))
    play.wish()
    assert play.running() == "-A" or play.running() == "-a"
    play.exit("a")
    assert play.said("unload") == ["a config"]


def test_a_declaration_that_comes_back_while_it_drains_keeps_the_runner() -> None:
    play = Play()
    play.wish(wish(OLD, loaded=True))
    play.ready("a")
    stream = play.ask(OLD)
    play.wish()
    play.wish(wish(OLD, loaded=True))
    play.release(stream)
    assert play.running() == "a"
    assert play.ask(OLD) in play.granted
    assert len(play.spawned) == 1


def test_h10_other_runners_are_not_touched_by_a_change() -> None:
    play = Play()
    play.wish(wish(OLD, "coder", loaded=True), wish(OTHER, "other", loaded=True))
    play.ready("a")
    play.ready("c")
    stream = play.ask(OTHER)
    kept = play.runner("c").id
    play.wish(wish(NEW, "coder", loaded=True), wish(OTHER, "other", loaded=True))
    assert play.runner("c").id == kept
    assert play.runner("c").leases.keys() == {stream}
    assert play.running() == "-a c"


def test_the_same_wishes_again_change_nothing() -> None:
    play = Play()
    for _ in range(3):
        play.wish(wish(OLD, loaded=True))
    play.ready("a")
    play.wish(wish(OLD, loaded=True))
    assert play.running() == "a"
    assert len(play.spawned) == 1


def test_live_fields_restart_nothing() -> None:
    play = Play()
    play.wish(wish(OLD, "coder", loaded=True))
    play.ready("a")
    play.wish(wish(OLD, "coder", "gpt-4o", loaded=True, priority=7, keep_alive=5.0))
    assert play.running() == "a"
    assert play.runner("a").entry.names == ("coder", "gpt-4o")


def test_a_changed_keep_alive_outweighs_what_a_client_asked_for_before() -> None:
    play = Play()
    play.wish(wish(OLD, keep_alive=60.0))
    play.idle(OLD, keep_alive=1000.0)
    play.wish(wish(OLD, keep_alive=30.0))
    play.wait(30)
    assert play.running() == "-a"


def test_a_model_no_wish_names_idles_out_by_itself_when_wishes_change() -> None:
    play = Play()
    play.idle(OTHER)
    play.wish(wish(OLD))
    assert play.running() == "c"
    play.wait(300)
    play.exit("c")
    assert play.said("unload") == ["c idle"]


def test_state_available_after_loaded_lets_it_idle_out() -> None:
    play = Play()
    play.wish(wish(OLD, loaded=True))
    play.ready("a")
    play.wish(wish(OLD))
    play.wait(299)
    assert play.running() == "a"
    play.wait(2)
    assert play.running() == "-a"


def test_an_unload_for_config_lets_running_requests_end() -> None:
    play = Play()
    stream = play.up(OLD)
    assert play.unload(OLD, Reason.CONFIG)
    assert play.running() == "~a"
    play.release(stream)
    play.exit("a")
    assert play.said("unload") == ["a config"]


def test_a_model_is_counted_under_its_first_declared_name() -> None:
    play = Play()
    play.wish(wish(OLD, "coder", "gpt-4o", loaded=True))
    play.ready("a")
    play.ask(OLD, model="gpt-4o")
    assert {event.model for event in play.events} == {"coder"}


def test_a_runner_asked_for_under_another_name_while_the_old_one_leaves_bears_that_name() -> None:
    play = Play(budget=8)
    play.wish(wish(OLD, "mine", loaded=True))
    play.ready("a")
    stream = play.ask(OLD)
    play.wish()
    play.ask(OLD)  # the deployment's own name, which is "a"
    play.release(stream)
    play.exit("a")
    assert play.state.board.entries[OLD.key].names == ("a",)
