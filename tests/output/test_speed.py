"""Reading takes time linear in the text: the end of a long answer costs no more a token than its beginning."""

from __future__ import annotations

import pytest

from tests.output.corpus import CORPUS, Case
from tests.output.speed import microseconds, texts

#: Half a million characters in 8,000 pieces. Copying or searching all that came costs some 30 µs a piece at the end.
SIZE, PIECE = 512 * 1024, 64


def grows(case: Case, text: str) -> bool:
    first, *_, last = microseconds(case, text, PIECE)
    return last > 3 * first + 10


@pytest.mark.parametrize("stem", sorted(CORPUS))
def test_a_token_costs_the_same_however_long_the_answer(stem: str) -> None:
    case = max(CORPUS[stem], key=lambda case: len(case.text))
    slow = [name for name, text in texts(case, SIZE) if name.startswith("broken") and grows(case, text)]
    assert slow == []
