"""generation: readings of models.yaml become accepted catalogs, all of one or nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from powerd.reconcile.generation import Generations
from powerd.reconcile.history import History
from powerd.reconcile.watch import Reading

HEAD = "apiVersion: powerd/v1\nmodels:\n"
ONE, TWO = HEAD + "  a: {source: /a}\n", HEAD + "  a: {source: /a}\n  b: {source: /b}\n"


class Rig:
    """Generations with its callbacks recorded."""

    def __init__(self, directory: Path, *, allow_empty: bool = False) -> None:
        self.accepted: list[bool] = []
        self.judged: list[tuple[bool, str]] = []
        self.generations = Generations(
            directory / "models.yaml",
            History(directory / "generations", keep=5),
            allow_empty=allow_empty,
            accepted=self.accepted.append,
            judged=lambda valid, reason, _message: self.judged.append((valid, reason)),
        )

    def begin(self, reading: Reading) -> None:
        asyncio.run(self.generations.begin(reading))

    def take(self, text: str | None, problem: str = "") -> list[str]:
        return asyncio.run(self.generations.take(Reading(text, problem)))

    @property
    def names(self) -> list[str]:
        return list(self.generations.catalog.models)


def test_no_file_ever_is_no_error(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.begin(Reading(None))
    assert rig.judged == [(True, "NoFile")]
    assert rig.accepted == []


def test_each_file_is_a_generation_and_the_same_one_is_not_counted_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.begin(Reading(ONE))
    assert rig.take(ONE) == []
    assert rig.take(TWO) == []
    assert (rig.generations.number, rig.names, rig.accepted) == (2, ["a", "b"], [True, False, True])


def test_y05_a_broken_file_keeps_the_last_good_one_with_every_problem(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.begin(Reading(TWO))
    problems = rig.take(HEAD + "  a: {sorce: /a}\n  b: {context: -1}\n")
    assert len(problems) == 4
    assert all("models.yaml:" in problem for problem in problems)
    assert (rig.names, rig.generations.number, rig.judged[-1]) == (["a", "b"], 1, (False, "Invalid"))


def test_y06_deleted_unreadable_and_empty_files_remove_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.begin(Reading(ONE))
    for text, problem, reason in ((None, "", "Missing"), (None, "denied", "Unreadable"), ("", "", "Empty")):
        assert rig.take(text, problem)
        assert (rig.names, rig.judged[-1]) == (["a"], (False, reason))
    assert rig.take(ONE) == []
    assert rig.judged[-1] == (True, "Accepted")


def test_an_empty_file_counts_when_the_owner_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path, allow_empty=True)
    rig.begin(Reading(ONE))
    assert rig.take("apiVersion: powerd/v1\n") == []
    assert (rig.names, rig.generations.number) == ([], 2)


def test_a_restart_with_a_broken_file_serves_the_last_good_generation(tmp_path: Path) -> None:
    Rig(tmp_path).begin(Reading(TWO))
    for text, problem in (("models: [", ""), (None, ""), ("", ""), (None, "denied")):
        rig = Rig(tmp_path)
        rig.begin(Reading(text, problem))
        assert (rig.names, rig.generations.number, rig.accepted) == (["a", "b"], 1, [True])
        assert rig.judged[-1][0] is False


def test_a_generation_that_cannot_be_kept_is_not_accepted(tmp_path: Path) -> None:
    (tmp_path / "generations").write_text("in the way")
    rig = Rig(tmp_path)
    rig.begin(Reading(ONE))
    assert (rig.names, rig.judged) == ([], [(False, "NotKept")])
