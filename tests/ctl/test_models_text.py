"""What is written into a models.yaml is read back as the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.catalog.parse import parse_files
from powerd.catalog.spec import Catalog
from powerd.ctl.models_text import Entry, key, mend, name_for, text

PRINTABLE = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters="\n\t")


def read(written: str) -> Catalog:
    return parse_files({"/m/models.yaml": written}, file="/m/models.yaml", read_file=Path.read_text)


@settings(max_examples=150, deadline=None)
@given(st.text(PRINTABLE, min_size=1), st.lists(st.text(PRINTABLE, min_size=1, max_size=20), max_size=3))
def test_any_text_comes_back_as_it_was(system: str, stops: list[str]) -> None:
    fields = {"source": "builtin:demo", "system": system, "parameters": {"stop": stops, "temperature": 1e-05}}
    spec = read(text(["a\nhead"], [Entry("demo", dict(fields), ["a note\nof two lines"])])).models["demo"]
    assert spec.system == system
    assert spec.parameters == {"stop": tuple(stops), "temperature": 1e-05}


@pytest.mark.parametrize("name", ["7", "1e3", "true", "null", "a:1", "0x10", "_", "x-y", "No"])
def test_any_name_comes_back_as_it_was(name: str) -> None:
    assert list(read(text([], [Entry(name, {"source": "./7.gguf", "aliases": ["on", "1:30"]})])).models) == [name]


def test_messages_and_many_lines_are_written_for_people() -> None:
    entry = Entry("a", {"source": "b", "system": "one\n\n two\n", "messages": [{"role": "user", "content": "x: y"}]})
    assert text(["head"], [entry]) == (
        "# head\napiVersion: powerd/v1\nmodels:\n\n  a:\n    source: b\n    system: |\n      one\n\n       two\n"
        '    messages:\n      - {role: "user", content: "x: y"}\n'
    )


def test_an_example_in_a_comment_keeps_its_indentation() -> None:
    assert text(["Like this:", "  demo:", "    source: builtin:demo"], []).splitlines()[:3] == [
        "# Like this:",
        "#   demo:",
        "#     source: builtin:demo",
    ]


def test_no_entries_are_a_file_that_declares_nothing() -> None:
    assert read(text([], [])).models == {}


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ("llama3.2", "llama3.2"),
        ("Q3 30B (coder)", "Q3-30B-coder-"),
        ("org/model:q4", "org-model:q4"),
        ("-x", "x"),
        ("", "model"),
        ("a" * 99, "a" * 80),
        ("a:latest", "a"),
        ("a:b:c", "a:b-c"),
    ],
)
def test_a_name_is_mended_where_the_grammar_has_no_place_for_it(wanted: str, made: str) -> None:
    assert mend(wanted) == made
    read(text([], [Entry(made, {"source": "builtin:demo"})]))


def test_names_that_are_taken_make_way() -> None:
    assert name_for(["mine", "team-mine"], {key("MINE")}) == "team-mine"
    assert name_for(["mine:7b"], {"mine:7b", "mine-2:7b"}) == "mine-3:7b"
    assert len(name_for(["a" * 80], {"a" * 80 + ":latest"})) <= 80
