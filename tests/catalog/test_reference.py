"""The example file and the reference page keep up with the fields."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import powerd.docs
from powerd.catalog.fields import FIELDS, Field
from powerd.catalog.loader import MAX_DEPTH, MAX_NODES, MAX_TEXT
from powerd.catalog.parse import parse_files
from powerd.catalog.spec import Defaults
from powerd.documents import MAX_FRAGMENTS
from powerd.options import RUNNER_FIELDS, SAMPLING_OPTIONS
from tests.catalog.reading import HEAD, catalog, problems

EXAMPLE = (Path(__file__).parents[2] / "etc/models.yaml").read_text("utf-8")
PAGE = (Path(powerd.docs.__path__[0]) / "models-yaml.md").read_text("utf-8")
AVAILABLE = [field for field in FIELDS.values() if field.available]
RESERVED = [field for field in FIELDS.values() if not field.available]


def row(field: Field) -> str:
    if not field.available:
        return f"| `{field.name}` | {field.kind} | {field.doc} |"
    default = f"`{field.default}`" if field.default else ""
    return f"| `{field.name}` | {field.kind} | {default} | {field.change} | {field.doc} |"


def rows(heading: str) -> list[str]:
    """The rows of the table under a heading, its head left out."""
    section = re.split(r"^#+ ", PAGE.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def test_the_page_has_the_table_of_the_fields() -> None:
    assert rows("## The fields of a model") == [row(field) for field in AVAILABLE]
    assert rows("### Reserved") == [row(field) for field in RESERVED]


def test_every_sentence_of_the_table_is_one() -> None:
    for field in FIELDS.values():
        assert re.fullmatch(r"[A-Z].*\.", field.doc), field.name
        assert "|" not in field.kind + field.doc


def test_the_page_lists_what_is_not_yet_there() -> None:
    section = PAGE.split("### Not yet\n", 1)[1].split("###", 1)[0]
    assert re.findall(r"^- (.*)$", section, re.MULTILINE) == [field.not_yet for field in AVAILABLE if field.not_yet]


def test_the_page_names_every_sampling_option() -> None:
    assert all(f"`{name}`" in PAGE for name in SAMPLING_OPTIONS)


def test_the_page_names_the_fields_without_defaults() -> None:
    assert "Every field but `source`, `digest`, `aliases`, `adapters` and `draft` may stand under `defaults:`" in PAGE
    assert [field.name for field in AVAILABLE if not field.in_defaults] == [
        "source",
        "digest",
        "aliases",
        "adapters",
        "draft",
    ]


def test_the_page_states_the_limits_that_hold() -> None:
    assert (MAX_TEXT, MAX_DEPTH, MAX_NODES) == (2**20, 32, 200_000)
    assert "At most 1 MiB of text, 32 levels of nesting and 200,000 values" in PAGE
    assert f"At most {MAX_FRAGMENTS} files" in PAGE


def test_the_page_names_the_fields_that_hold_for_undeclared_models() -> None:
    named = PAGE.split("takes a default placement back. ", 1)[1].split(" also hold for models", 1)[0]
    held = {field.name for field in dataclasses.fields(Defaults)}
    assert set(re.findall(r"`(\w+)`", named)) == {field.name for field in AVAILABLE if field.attribute in held}


def test_the_page_says_which_field_stands_for_a_runner_option() -> None:
    told = {name: field for name, field in RUNNER_FIELDS.items() if f"`{name}` is `{field}`" in PAGE}
    assert {"num_ctx", "num_gpu", "num_thread", "num_batch", "main_gpu"} <= set(told)


def test_the_pages_fragment_is_accepted() -> None:
    lines = PAGE.split("    # /etc/power/models.d/20-search.yaml\n", 1)[1].split("\n\n", 1)[0].splitlines()
    fragment = "\n".join(line.removeprefix("    ") for line in lines)
    read = parse_files({"/etc/power/models.d/20-search.yaml": fragment}, file="/etc/power/models.yaml")
    assert list(read.models) == ["embed"]


def test_the_example_file_names_the_schema_where_it_is_installed() -> None:
    modeline = "# yaml-language-server: $schema=/usr/local/share/powerd/models.schema.json"
    assert EXAMPLE.startswith(f"{modeline}\n")
    assert f"    {modeline}\n" in PAGE


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_pages_examples_are_accepted(block: str) -> None:
    read = catalog(block)
    assert read.models
    assert not read.warnings


def test_the_pages_mistakes_read_as_it_says() -> None:
    shown = re.findall(r"^    models\.yaml:(.*)$", PAGE, re.MULTILINE)
    text = f'{HEAD}models:\n  coder:\n    contxt: 1\n    parallel: "5"\n    source: x\n'
    assert [line.removeprefix("m.yaml:") for line in problems(text)] == shown


def test_the_example_file_declares_the_demonstration_model() -> None:
    read = catalog(EXAMPLE)
    assert [(name, spec.source) for name, spec in read.models.items()] == [("demo", "builtin:demo")]
    assert not read.warnings


def test_the_example_files_comments_are_good_too_and_show_every_field() -> None:
    text = re.sub(r"^( *)# (?=  |(?!yaml-)[a-z-]+:( |$))", r"\1", EXAMPLE, flags=re.MULTILINE).replace(
        "sha256:…", f"sha256:{'0' * 64}"
    )
    read = catalog(text, {"/etc/power/coder.jinja": "{% if x %}{% endif %}"})
    assert list(read.models) == ["demo", "coder", "old-coder"]
    assert read.defaults.keep_alive == 300.0
    coder = text.split("  coder:", 1)[1].split("old-coder", 1)[0]
    assert set(re.findall(r"^    (\w+):", coder, re.MULTILINE)) == {field.name for field in AVAILABLE}
