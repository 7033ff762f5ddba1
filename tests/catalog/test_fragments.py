"""models.yaml and its fragments, read as one (`parse_files`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from powerd.catalog.loader import MAX_NODES, MAX_TEXT
from powerd.catalog.parse import parse_files
from powerd.catalog.problems import MAX_PROBLEMS
from powerd.catalog.spec import Catalog, CatalogError
from tests.catalog.reading import HEAD

MAIN = "/etc/power/models.yaml"
A, B = "/etc/power/models.d/a.yaml", "/etc/power/models.d/b.yaml"


def read(documents: Mapping[str, str]) -> Catalog:
    return parse_files(documents, file=MAIN)


def problems(documents: Mapping[str, str]) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        read(documents)
    return [str(problem).removeprefix("/etc/power/") for problem in caught.value.problems]


def models(*entries: str) -> str:
    return f"{HEAD}models:\n" + "".join(f"  {one}\n" for one in entries)


def test_models_of_all_files_come_together_in_the_order_of_the_files_names() -> None:
    catalog = read({B: models("b: {source: y}"), A: models("a: {source: x}"), MAIN: models("m: {source: z}")})
    assert list(catalog.models) == ["m", "a", "b"]
    assert [spec.at.file for spec in catalog.models.values()] == [MAIN, A, B]
    assert list(catalog.documents) == [MAIN, A, B]


def test_fragments_need_no_models_yaml() -> None:
    assert list(read({A: models("a: {source: x}")}).models) == ["a"]
    assert read({}) == Catalog()


def test_the_defaults_of_models_yaml_hold_in_every_file() -> None:
    catalog = read({MAIN: f"{HEAD}defaults: {{threads: 3}}\n", A: models("a: {source: x}")})
    assert (catalog.models["a"].threads, catalog.defaults.threads) == (3, 3)
    assert catalog.models["a"].origins["threads"].file == MAIN


def test_defaults_in_a_fragment_are_an_error_that_says_where_they_belong() -> None:
    assert problems({A: f"{HEAD}defaults: {{threads: 3}}\n"}) == [
        f'models.d/a.yaml:2:1: "defaults" hold for the models of every file: move them to {MAIN}'
    ]


@pytest.mark.parametrize(
    ("one", "other", "kinds"),
    [
        ("a: {source: x}", "A: {source: y}", ("model", "model")),
        ("a: {source: x}", "b: {source: y, aliases: [a]}", ("alias", "model")),
        ("b: {source: y, aliases: [a]}", "a: {source: x}", ("alias", "model")),
        ("a: {source: x, aliases: [c]}", "b: {source: y, aliases: [c]}", ("alias", "alias")),
        ("a: {source: x}", "a: {source: x}", ("model", "model")),
    ],
)
def test_y08_a_name_that_two_files_give_away_names_both_places(one: str, other: str, kinds: tuple[str, str]) -> None:
    (refusal,) = problems({MAIN: models(one), A: models(other)})
    assert all(kind in refusal for kind in kinds)
    assert "models.d/a.yaml:3:" in refusal
    assert "models.yaml:3:" in refusal


def test_every_problem_of_every_file_is_said_models_yaml_first() -> None:
    found = problems(
        {
            A: "models: [\n",
            B: models("b: {sorce: x}"),
            MAIN: "apiVersion: powerd/v2\n",
            "/etc/power/models.d/c.yaml": f"{HEAD}x-a: 1\nfoo: 1\n",
        }
    )
    assert [line.split(":")[0] for line in found] == [
        "models.yaml",
        "models.d/a.yaml",
        "models.d/b.yaml",
        "models.d/b.yaml",
        "models.d/c.yaml",
    ]


@pytest.mark.parametrize("blank", ["", " \n\n"])
@pytest.mark.parametrize("which", [MAIN, A])
def test_y05_an_empty_file_among_others_may_be_half_of_an_edit(blank: str, which: str) -> None:
    documents = {MAIN: models("m: {source: z}"), A: models("a: {source: x}")} | {which: blank}
    (refusal,) = problems(documents)
    assert refusal.endswith(":1:1: the file is empty, which may be half of an edit; write its models or delete it")


def test_a_fragment_may_hold_nothing_but_comments() -> None:
    assert list(read({MAIN: models("m: {source: z}"), A: "# off for now\n"}).models) == ["m"]


def test_the_caps_hold_for_all_files_together() -> None:
    half = "x-a: [" + "1, " * (MAX_NODES // 2) + "]\n"
    (refusal,) = problems({MAIN: HEAD + half, A: HEAD + half, B: "models: ["})
    assert refusal.startswith("models.d/a.yaml:2:")
    assert f"models.yaml and models.d together may not hold more than {MAX_NODES} values" in refusal
    (refusal,) = problems({MAIN: "#" * (MAX_TEXT - 5), A: "#" * 10})
    assert f"models.d/a.yaml:1:1: models.yaml and models.d together may not be longer than {MAX_TEXT} char" in refusal


def test_files_that_are_all_wrong_are_refused_in_rounds() -> None:
    wrong = models(*(f"m{n}: {{contxtt: 1}}" for n in range(MAX_PROBLEMS)))
    found = problems({A: wrong, B: wrong})
    assert len(found) == MAX_PROBLEMS + 1
    assert "listed" in found[-1]


def test_paths_start_at_the_directory_of_the_file_they_stand_in() -> None:
    catalog = parse_files(
        {
            MAIN: models("m: {source: ./m.gguf, template: {file: t.jinja}}"),
            A: models("a: {source: ./a.gguf, template: {file: t.jinja}}"),
        },
        file=MAIN,
        read_file=lambda path: f"from {path}",
    )
    assert [spec.source for spec in catalog.models.values()] == ["/etc/power/m.gguf", "/etc/power/models.d/a.gguf"]
    assert catalog.files == (Path("/etc/power/t.jinja"), Path("/etc/power/models.d/t.jinja"))


def test_a_catalog_can_be_read_again_from_its_documents_alone() -> None:
    template = models("a: {source: x, template: {file: t.jinja}}", "b: {source: x, template: {file: ../u.jinja}}")
    first = parse_files(
        {MAIN: f"{HEAD}defaults: {{threads: 3}}\n", A: template}, file=MAIN, read_file=lambda path: f"text of {path}"
    )
    assert len(first.documents) == 4
    assert parse_files(first.documents, file=MAIN) == first
    gone = {path: text for path, text in first.documents.items() if not path.endswith("u.jinja")}
    (refusal,) = problems(gone)
    assert "template.file cannot be read: /etc/power/models.d/../u.jinja: not among the documents kept" in refusal


def test_a_document_that_is_neither_is_not_read() -> None:
    other = "/etc/power/models.d/nested/c.yaml"
    catalog = read({MAIN: models("m: {source: z}"), other: "!", "/etc/power/models.d/.a.yaml": "!"})
    assert list(catalog.documents) == [MAIN]


def test_what_a_file_declared_is_known() -> None:
    catalog = read({MAIN: f"{HEAD}defaults: {{threads: 3}}\n", A: models("a: {source: x}")})
    assert catalog.needs(MAIN)
    assert catalog.needs(A)
    assert not read({MAIN: HEAD, A: models("a: {source: x}")}).needs(MAIN)
