"""Every answer of the golden corpus is read right, however it is cut."""

from __future__ import annotations

import pytest

from powerd.output.families import FAMILIES
from tests.output.corpus import CASES, CORPUS, Case, read, ways


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_reads_the_same_at_every_possible_split(case: Case) -> None:
    for way in ways(case.text):
        assert read(case.reader(), way) == case.expected, way


def test_every_family_has_a_corpus() -> None:
    told = {case.format.tools.name for cases in CORPUS.values() for case in cases if case.format.tools}
    assert told == {family.name for family in FAMILIES}


def test_labels_are_unique() -> None:
    assert len({case.label for case in CASES}) == len(CASES)
