from __future__ import annotations

from powerd.output.calls.beside import Beside
from powerd.output.pieces import Content


def test_blanks_beside_a_call_go_with_it() -> None:
    beside = Beside()
    assert beside.say("Let me look. \n") == Content("Let me look.")
    beside.hold("<call>")
    beside.called()
    assert beside.say("\n ") is None
    assert beside.say(" Done.") == Content("Done.")
    assert beside.spill() is None


def test_what_was_held_for_a_call_that_is_none_is_content() -> None:
    beside = Beside()
    assert beside.say("a ") == Content("a")
    assert beside.say(" ") is None
    beside.hold("<call>")
    assert beside.spill("{") == Content("  <call>{")
    assert beside.say("b") == Content("b")
