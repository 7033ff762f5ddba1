"""What stays of a prompt that does not fit and of a full context."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from powerd.runner.window import after_cutting, dropped, head


def test_the_figures_of_the_contract() -> None:
    assert head(4, False, 3000, 2048) == 4
    assert head(4, True, 3000, 2048) == 5
    assert after_cutting(5, 2048) == 2048 - (2048 - 5) // 2
    assert dropped(5, 2047) == 1021


@given(st.integers(-1, 5000), st.booleans(), st.integers(1, 5000), st.integers(2, 4096))
def test_there_is_always_something_to_drop_and_a_place_to_go_on(
    keep: int, bos: bool, prompt: int, context: int
) -> None:
    kept = head(keep, bos, prompt, context)
    assert 0 <= kept <= context - 2
    assert kept <= after_cutting(kept, context) < context
    position = context - 1
    gone = dropped(kept, position)
    assert 1 <= gone <= position - kept
