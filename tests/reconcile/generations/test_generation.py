"""generation: readings of models.yaml become accepted catalogs, all of one or nothing; rollbacks are held."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.documents import Reading
from powerd.errors import Conflict, NotFound
from powerd.reconcile.generations.generation import Generations, carried_over
from powerd.reconcile.generations.history import History
from powerd.reconcile.generations.records import Resolved, fetched

HEAD = "apiVersion: powerd/v1\nmodels:\n"
ONE, TWO = HEAD + "  a: {source: /a}\n", HEAD + "  a: {source: /a}\n  b: {source: /b}\n"
A, B = (str(Digest(letter * 64)) for letter in "ab")


def gave(digest: str, source: str = "/a") -> Resolved:
    return Resolved(source=source, identity="looks", weights=digest, origin=digest, manifest=digest)


class Rig:
    """Generations with its callbacks recorded."""

    def __init__(self, directory: Path, *, allow_empty: bool = False, locked: bool = False) -> None:
        self.path = directory / "models.yaml"
        self.accepted: list[bool] = []
        self.judged: list[tuple[bool, str]] = []
        self.generations = Generations(
            self.path,
            History(directory / "generations", keep=5),
            allow_empty=allow_empty,
            locked=locked,
            accepted=self.accepted.append,
            judged=lambda valid, reason, _message: self.judged.append((valid, reason)),
        )

    def reading(self, text: str | None, problem: str = "") -> Reading:
        return Reading({} if text is None else {str(self.path): text}, problem)

    def begin(self, text: str | None, problem: str = "") -> Rig:
        asyncio.run(self.generations.begin(self.reading(text, problem)))
        return self

    def take(self, text: str | None, problem: str = "", *, locked: bool = False) -> list[str]:
        return asyncio.run(self.generations.take(self.reading(text, problem), locked=locked))

    def resolve(self, name: str, one: Resolved) -> None:
        asyncio.run(self.generations.resolve(name, one))

    def roll_back(self, number: int | None = None) -> None:
        goal = asyncio.run(self.generations.goal(number))
        asyncio.run(self.generations.go_back(*goal))

    @property
    def names(self) -> list[str]:
        return list(self.generations.catalog.models)


def test_no_file_ever_is_no_error(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(None)
    assert rig.judged == [(True, "NoFile")]
    assert rig.accepted == []


def test_each_file_is_a_generation_and_the_same_one_is_not_counted_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(ONE)
    assert rig.take(ONE) == []
    assert rig.take(TWO) == []
    assert (rig.generations.number, rig.names, rig.accepted) == (2, ["a", "b"], [True, False, True])


def test_a_generation_holds_its_template_files(tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    text = HEAD + "  a: {source: /a, template: {file: t.jinja}}\n"
    Rig(tmp_path).begin(text)
    (tmp_path / "t.jinja").unlink()
    rig = Rig(tmp_path).begin(None, "denied")
    template = rig.generations.catalog.models["a"].template
    assert template is not None
    assert template.text == "{{ messages }}"


def test_y05_a_broken_file_keeps_the_last_good_one_with_every_problem(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(TWO)
    problems = rig.take(HEAD + "  a: {sorce: /a}\n  b: {context: -1}\n")
    assert len(problems) == 4
    assert all("models.yaml:" in problem for problem in problems)
    assert (rig.names, rig.generations.number, rig.judged[-1]) == (["a", "b"], 1, (False, "Invalid"))


def test_y06_deleted_unreadable_and_empty_files_remove_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(ONE)
    for text, problem, reason in ((None, "", "Missing"), (None, "denied", "Unreadable"), ("", "", "Empty")):
        assert rig.take(text, problem)
        assert (rig.names, rig.judged[-1]) == (["a"], (False, reason))
    assert rig.take(ONE) == []
    assert rig.judged[-1] == (True, "Accepted")


def test_an_empty_file_counts_when_the_owner_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path, allow_empty=True).begin(ONE)
    assert rig.take("apiVersion: powerd/v1\n") == []
    assert (rig.names, rig.generations.number) == ([], 2)


def test_a_restart_with_a_broken_file_serves_the_last_good_generation(tmp_path: Path) -> None:
    Rig(tmp_path).begin(TWO)
    for text, problem in (("models: [", ""), (None, ""), ("", ""), (None, "denied")):
        rig = Rig(tmp_path).begin(text, problem)
        assert (rig.names, rig.generations.number, rig.accepted) == (["a", "b"], 1, [True])
        assert rig.judged[-1][0] is False


def test_a_generation_that_cannot_be_kept_is_not_accepted(tmp_path: Path) -> None:
    (tmp_path / "generations").write_text("in the way")
    rig = Rig(tmp_path).begin(ONE)
    assert (rig.names, rig.judged) == ([], [(False, "NotKept")])


# ---------------------------------------------------------------- what models resolve to


def test_what_a_model_resolved_to_is_written_once_and_read_at_the_next_start(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(ONE)
    rig.resolve("a", gave(A))
    path = tmp_path / "generations/000001.resolved.json"
    written = path.stat().st_mtime_ns, path.stat().st_ino
    rig.resolve("a", gave(A))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == written
    again = Rig(tmp_path).begin(ONE).generations
    assert again.pins("a", again.catalog.models["a"]).recorded == fetched(gave(A))


def test_a_new_generation_goes_on_with_what_unchanged_and_renamed_sources_gave(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(TWO)
    rig.resolve("a", gave(A))
    rig.resolve("b", gave(B, "/b"))
    rig.take(HEAD + "  a: {source: /other}\n  c: {source: /b}\n  d: {source: /a, state: absent}\n")
    assert rig.generations.resolved == {"c": gave(B, "/b")}
    assert History(tmp_path / "generations", 5).resolved(2) == {"c": gave(B, "/b")}
    assert carried_over({"a": gave(A)}, rig.generations.catalog) == {}


# ---------------------------------------------------------------- rollback


def test_a_rollback_is_a_new_generation_held_over_restarts_until_the_file_changes(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(ONE)
    rig.resolve("a", gave(A))
    rig.take(TWO)
    rig.path.write_text(TWO)
    rig.roll_back()
    for _ in range(2):
        assert (rig.generations.number, rig.names) == (3, ["a"])
        hold = rig.generations.hold
        assert hold is not None
        assert (hold.generation, hold.of) == (3, 1)
        assert rig.generations.pins("a", rig.generations.catalog.models["a"]).rolled_back
        assert rig.take(TWO) == []
        assert rig.judged[-1] == (True, "Held")
        assert rig.take("models: [")
        assert rig.generations.number == 3
        rig = Rig(tmp_path).begin(TWO)
    assert rig.take(ONE) == []
    assert (rig.generations.number, rig.names, rig.generations.hold) == (4, ["a"], None)


def test_a_second_rollback_goes_one_further_and_a_number_is_exact(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(ONE)
    for source in "bcd":
        rig.take(ONE.replace("/a", f"/{source}"))
    rig.roll_back()
    assert rig.generations.catalog.models["a"].source == "/c"
    rig.roll_back()
    assert rig.generations.catalog.models["a"].source == "/b"
    rig.roll_back(4)
    assert rig.generations.catalog.models["a"].source == "/d"
    with pytest.raises(NotFound, match="no generation 99 is kept; kept are: 3, 4, 5, 6, 7"):
        rig.roll_back(99)


def test_there_is_nothing_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no generation before this one is kept; kept are: 1"):
        Rig(tmp_path).begin(ONE).roll_back()


def test_an_update_is_a_generation_that_a_rollback_undoes(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(ONE)
    rig.path.write_text(ONE)
    rig.resolve("a", gave(A))
    asyncio.run(rig.generations.renew("a", gave(B)))
    assert (rig.generations.number, rig.generations.reason) == (2, "update of a")
    assert rig.take(ONE) == []
    assert (rig.generations.number, rig.generations.resolved["a"]) == (2, gave(B))
    rig.roll_back()
    assert rig.take(ONE) == []
    assert (rig.generations.number, rig.generations.resolved["a"]) == (3, gave(A))
    with pytest.raises(Conflict, match="a rollback to 1"):
        asyncio.run(rig.generations.renew("a", gave(B)))


# ---------------------------------------------------------------- the lock


def test_a_locked_daemon_refuses_sources_that_are_not_in_the_lock(tmp_path: Path) -> None:
    rig = Rig(tmp_path, locked=True).begin(TWO)
    assert (rig.judged[-1], rig.names) == ((False, "NotLocked"), [])
    assert [problem[:9] for problem in rig.generations.problems] == ['model "a"', 'model "b"']
    lock = HEAD + "".join(f"  {name}: {{source: /{name}, digest: '{A}', revision: r}}\n" for name in "ab")
    (tmp_path / "models.lock.yaml").write_text(lock)
    assert rig.take(TWO) == []
    held = rig.generations.pins("a", rig.generations.catalog.models["a"]).locked
    assert held is not None
    assert (held.digest, held.revision) == (A, "r")
    assert len(rig.take(TWO.replace("/b", "/c"))) == 1


def test_one_reading_may_be_locked_and_a_changed_lock_is_a_generation(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(ONE)
    assert rig.take(ONE, locked=True)
    assert rig.take(ONE) == []
    (tmp_path / "models.lock.yaml").write_text(HEAD + f"  a: {{source: /a, digest: '{A}'}}\n")
    assert rig.take(ONE, locked=True) == []
    assert rig.generations.number == 2


def test_a_lock_that_cannot_be_read_is_a_problem_of_the_file(tmp_path: Path) -> None:
    rig = Rig(tmp_path).begin(ONE)
    (tmp_path / "models.lock.yaml").write_text(HEAD + "  a: {source: /a, digets: x}\n")
    problems = rig.take(ONE)
    assert any('models.lock.yaml:3:19: unknown key "digets"; did you mean "digest"?' in each for each in problems)
    (tmp_path / "models.lock.yaml").write_bytes(b"\xff")
    assert "not UTF-8" in rig.take(ONE)[0]


def test_y06_models_yaml_may_not_just_vanish_beside_fragments_while_it_declares_something(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    fragment = {str(tmp_path / "models.d" / "b.yaml"): HEAD + "  b: {source: /b}\n"}

    def take(*documents: dict[str, str]) -> list[str]:
        return asyncio.run(
            rig.generations.take(Reading({path: text for one in documents for path, text in one.items()}))
        )

    main, bare = {str(rig.path): ONE}, {str(rig.path): "apiVersion: powerd/v1\n"}
    assert take(main, fragment) == []
    (problem,) = take(fragment)
    assert "there is no such file; generation 1 goes on (where models.d is to hold everything, leave one" in problem
    assert (rig.names, rig.judged[-1]) == (["a", "b"], (False, "Missing"))
    assert take(bare, fragment) == []
    assert take(fragment) == []
    assert (rig.names, rig.generations.number) == (["b"], 3)
