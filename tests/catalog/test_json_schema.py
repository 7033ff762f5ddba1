"""The published schema is the file in etc/, is made of the table, and judges as the parser does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import powerd.docs
from powerd.catalog.fields import FIELDS
from powerd.catalog.json_schema import schema
from powerd.catalog.loader import load
from powerd.catalog.problems import Problems
from powerd.catalog.values import plain
from tests.catalog.reading import HEAD, entry, problems
from tests.catalog.test_fields import REFUSED, TAKEN

PUBLISHED = Path(__file__).parents[2] / "etc/models.schema.json"
AVAILABLE = [field for field in FIELDS.values() if field.available]

#: What a schema cannot say: as docs/models-yaml.md lists it, and the parser's words for it.
ONLY_THE_PARSER = {
    "a name or an alias that is given away twice": r"has the same name as",
    "an alias below `powerd.local/`": r'aliases\[\d+\] must be a model name .*, not " *powerd.local',
    "a template file that is missing, unreadable, empty or too long": r"template\.file cannot be (read|used)",
    "as many numbers in `split` as `devices`": r"placement\.split must have a number for each",
    "`main` among them": r"placement\.main must be one of devices",
    "a whole number written as a float (`4096.0`)": r"not [-+.e\d]+; write -?\d+$|must be a whole number, not",
    "`.inf` and `.nan`": r"not [-+]?\.(inf|nan)|must be a finite number",
    "an alias that is a number or a truth value": r"aliases\[\d+\] must be a model name .*, not [-+.\d]",
    "`stop` strings are counted in bytes": r'"stop" takes at most',
}


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def by_schema(text: str) -> bool:
    """Whether the schema accepts what YAML text says."""
    root = load(text, "f", Problems())
    return bool(validator().is_valid(None if root is None else plain(root)))


def agree(text: str) -> None:
    """What the schema refuses is refused; what it accepts is accepted, or refused for what it cannot say."""
    told = problems(text, {"/etc/power/t": "x"})
    if not by_schema(text):
        assert told, f"only the schema refuses {text}"
    else:
        unexpected = [line for line in told if not any(re.search(reason, line) for reason in ONLY_THE_PARSER.values())]
        assert not unexpected, f"only the parser refuses {text}"


def test_the_file_in_etc_is_what_the_function_returns() -> None:
    told = "refresh it: python -m powerd --schema > etc/models.schema.json"
    assert PUBLISHED.read_text("utf-8") == json.dumps(schema(), indent=2, ensure_ascii=False) + "\n", told


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


def test_it_has_every_field_with_its_class_its_sentence_and_its_default() -> None:
    said = schema()["$defs"]
    assert [*said["model"]["properties"]] == [field.name for field in AVAILABLE]
    assert [*said["defaults"]["properties"]] == [field.name for field in AVAILABLE if field.in_defaults]
    for field in AVAILABLE:
        assert (said[field.name]["description"], said[field.name]["x-change-class"]) == (field.doc, field.change)
        assert ("default" in said[field.name]) is bool(field.default)
        if field.default:
            assert Draft202012Validator(said[field.name]).is_valid(said[field.name]["default"]), field.name


def test_no_reserved_field_is_in_it() -> None:
    assert not {field.name for field in FIELDS.values() if not field.available} & schema()["$defs"].keys()


@pytest.mark.parametrize("line", [line for line, _ in TAKEN])
def test_it_accepts_what_a_field_takes(line: str) -> None:
    assert by_schema(entry(f"source: x\n{line}"))


@pytest.mark.parametrize("line", [line for line, _ in REFUSED])
def test_it_refuses_what_a_field_refuses(line: str) -> None:
    text = entry(f"source: x\n{line}")
    assert problems(text)
    agree(text)


def test_it_accepts_little_of_what_a_field_refuses() -> None:
    assert {line for line, _ in REFUSED if by_schema(entry(f"source: x\n{line}"))} == {
        "context: 1e3",
        "keep_alive: .nan",
        "keep_alive: .inf",
        "adapters: [{source: a, scale: .inf}]",
        "parameters: {temperature: .nan}",
        "parameters: {top_k: 1e3}",
        "aliases: [powerd.local/declared/x]",
    }


GOOD = [
    "",
    "# nothing\n",
    HEAD,
    f"{HEAD}models:\ndefaults:\n",
    f"{HEAD}x-a: [anything]\nmodels: {{}}\n",
    f"{HEAD}models: {{old: {{state: absent}}, 'a:b': {{source: x}}}}\n",
    entry("source: x\ntemplate: {file: t}"),
    entry("source: x\ntemplate: {text: a, syntax: go}"),
    entry("source: x\nplacement: {devices: [a, b], split: [1, 0], main: b}"),
    entry("source: x\naliases: [a, ' b ', 405, true, 'localhost:80/n/m:t', n/m]"),
    f"{HEAD}defaults: {{state: loaded, think: auto, placement: {{split: row}}}}\n",
]
BAD = [
    "5",
    "[a]",
    "{}",
    "models: {}\n",
    "apiVersion: powerd/v2\n",
    f"{HEAD}modles: {{}}\n",
    f"{HEAD}source: x\n",
    f"{HEAD}models: []\n",
    f"{HEAD}models: {{a: }}\n",
    f"{HEAD}models: {{a: {{}}}}\n",
    f"{HEAD}models: {{a: {{state: loaded}}}}\n",
    f"{HEAD}models: {{a/b: {{source: x}}}}\n",
    f'{HEAD}models: {{"a\\n": {{source: x}}}}\n',
    f"{HEAD}defaults: {{state: absent}}\n",
    f"{HEAD}defaults: {{source: x}}\n",
    entry("source: x\nhidden: true"),
    entry("source: x\ntemplate: {syntax: go}"),
    entry("source: x\ntemplate: {file: t, text: b}"),
    entry("source: x\nplacement: {split: [1]}"),
    entry("source: x\nplacement: {devices: [cpu]}"),
    entry("source: x\nplacement: {devices: []}"),
    entry("source: x\nplacement: {devices: [a, a]}"),
    entry("source: x\nplacement: {devices: [a], split: [0]}"),
    entry("source: x\naliases: ['a b']"),
    entry('source: x\nkeep_alive: "5m\\n1"'),
]


@pytest.mark.parametrize("text", GOOD)
def test_good_files_are_accepted_by_both(text: str) -> None:
    assert by_schema(text)
    assert not problems(text, {"/etc/power/t": "x"})


@pytest.mark.parametrize("text", BAD)
def test_bad_files_are_refused_by_both(text: str) -> None:
    assert not by_schema(text)
    assert problems(text, {"/etc/power/t": "x"})


# ---------------------------------------------------------------- random documents


def _values(lines: Iterable[tuple[str, object]]) -> dict[str, list[Any]]:
    """What stands in these lines, by field."""
    tried: dict[str, list[Any]] = {}
    for line, _ in lines:
        root = load(line, "f", Problems())
        assert root is not None
        for name, value in plain(root).items():
            tried.setdefault(name, []).append(value)
    return tried


_TEXTS = st.sampled_from(["auto", "x", "", " ", "5m", "-0s", "+1h", "1.5.5s", "CUDA0", "cpu", "on", "t", "a:b", "~/x"])
_SCALARS = st.one_of(
    _TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([512, 513, 65536, 65537, 2**31 - 1, 2**31, 0.5, 1.0, -0.5]),
)
_ANY = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "devices",
                    "split",
                    "main",
                    "file",
                    "text",
                    "syntax",
                    "source",
                    "scale",
                    "role",
                    "content",
                    "gpu",
                    "stop",
                ]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
_GOOD, _BAD = _values(TAKEN), _values(REFUSED)
_PLACEMENTS = st.fixed_dictionaries(
    {},
    optional={
        "devices": st.lists(st.sampled_from(["a", "b", "cpu", "x y"]), max_size=3),
        "split": st.sampled_from(["layer", "row", "none", "even"])
        | st.lists(st.sampled_from([0, 1, 2.5, -1]), max_size=3),
        "main": st.sampled_from(["a", "b", "c"]),
    },
)


def _some(name: str) -> st.SearchStrategy[Any]:
    good, bad = st.sampled_from(_GOOD.get(name, ["x"])), st.sampled_from(_BAD.get(name, [None]))
    return st.one_of(*[good] * 8, bad, _ANY, *([_PLACEMENTS] * 4 if name == "placement" else []))


_NAMES = [field.name for field in AVAILABLE] * 3 + ["hidden", "contxt"]
_FIELDS = st.lists(st.sampled_from(_NAMES), max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: _some(name) for name in names})
)
_MODELS = st.dictionaries(
    st.sampled_from(["a", "b:c", "A.1", "d", "e", "a/b", ".x"]),
    _FIELDS.map(lambda one: {"source": "x", **one}),
    max_size=2,
)
_DOCUMENTS = st.fixed_dictionaries(
    {"apiVersion": st.just("powerd/v1")},
    optional={
        "models": st.one_of(*[_MODELS] * 5, _ANY),
        "defaults": st.one_of(*[_FIELDS] * 5, _ANY),
        "x-y": _ANY,
    },
)


@settings(max_examples=400, deadline=None)
@given(_DOCUMENTS)
def test_random_documents_are_judged_alike(document: dict[str, Any]) -> None:
    try:
        text = json.dumps(document, allow_nan=False, ensure_ascii=False)
    except ValueError:
        return
    agree(text)


def test_the_page_lists_what_only_the_parser_can_say() -> None:
    page = (Path(powerd.docs.__path__[0]) / "models-yaml.md").read_text("utf-8")
    listed = page.split("there powerd is the stricter one:", 1)[1].split("\n## ", 1)[0]
    assert all(reason in listed for reason in ONLY_THE_PARSER)
