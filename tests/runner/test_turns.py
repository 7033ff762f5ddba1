"""Turns: groups that cannot be computed together go round, and none waits longer than a turn of each other one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.runner.turns import TURN_NS, Turns


def test_a_group_keeps_its_turn_until_it_is_used_up() -> None:
    turns: Turns[str] = Turns()
    said = []
    for _ in range(6):
        said.append(turns.choose("ab"))
        turns.observe(TURN_NS // 2)
    assert "".join(said) == "aabbaa"


def test_a_group_without_work_gives_its_turn_up_at_once_and_comes_back_at_the_end() -> None:
    turns: Turns[str] = Turns()
    assert turns.choose("abc") == "a"
    assert turns.choose("bc") == "b"
    turns.observe(TURN_NS)
    assert turns.choose("abc") == "c"
    turns.observe(TURN_NS)
    assert turns.choose("abc") == "a"


def test_alone_a_group_goes_on_for_ever() -> None:
    turns: Turns[str] = Turns()
    for _ in range(3):
        assert turns.choose("a") == "a"
        turns.observe(10 * TURN_NS)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 5)), st.integers(1, 2 * TURN_NS)), max_size=80))
def test_nobody_waits_longer_than_one_turn_of_each_other_group(steps: list[tuple[set[int], int]]) -> None:
    """However groups come and go, and however long their steps are."""
    turns: Turns[int] = Turns()
    waited: dict[int, int] = {}
    for others, took in steps:
        present = sorted(others | {9})
        chosen = turns.choose(present)
        assert chosen in present
        turns.observe(took)
        waited[9] = 0 if chosen == 9 else waited.get(9, 0) + took
        assert waited[9] < 6 * 3 * TURN_NS
