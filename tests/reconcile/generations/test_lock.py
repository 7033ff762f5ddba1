"""lock: models.lock.yaml from a generation and back, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.catalog.parse import parse as parse_catalog
from powerd.catalog.spec import Catalog, CatalogError
from powerd.digest import Digest
from powerd.reconcile.generations.lock import Lock, Locked, lock_path, make, parse, show
from powerd.reconcile.generations.records import Resolved

HERE = Path("/etc/power")
A = str(Digest("a" * 64))
LINE = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30)


def catalog(text: str) -> Catalog:
    text = "apiVersion: powerd/v1\nmodels:\n" + text
    return parse_catalog(text, file="models.yaml", directory=HERE, read_file=Path.read_text)


def gave(source: str, quantization: str = "") -> Resolved:
    return Resolved(
        source=source, identity="", weights=A, origin=A, manifest=A, quantization=quantization, revision="commit"
    )


def test_the_lock_of_a_generation_reads_back_and_holds_for_the_same_sources() -> None:
    declared = catalog(
        "  a: {source: ./a.gguf}\n  b: {source: 'hf.co/x/y', quantization: Q4_K_M}\n"
        "  u: {source: 'https://host/m.gguf?key=secret'}\n  gone: {state: absent}\n  never: {source: /x}\n"
    )
    known = {name: gave(spec.source, spec.quantization or "") for name, spec in declared.models.items()}
    del known["never"]
    text = show(make(declared, known, HERE))
    assert "secret" not in text
    lock = parse(text, "models.lock.yaml")
    assert lock.models["a"] == Locked("./a.gguf", A, "", "commit")
    assert {name for name, spec in declared.models.items() if lock.entry(spec, HERE)} == {"a", "b", "u"}
    assert [each[:13] for each in lock.refusals(declared, HERE)] == ['model "never"']


def test_an_entry_of_another_source_or_quantization_does_not_hold() -> None:
    lock = Lock({"a": Locked("/a", A), "b": Locked("/b", A, "Q8_0"), "c": Locked("/c", A)})
    declared = catalog(
        f"  a: {{source: /other}}\n  b: {{source: /b}}\n  c: {{source: /c, digest: 'sha256:{'b' * 64}'}}\n"
    )
    assert lock.entry(declared.models["a"], HERE) is None
    assert lock.entry(declared.models["b"], HERE) is None
    told = lock.refusals(declared, HERE)
    assert ["models.lock.yaml has it of /a" in told[0], "/b Q8_0" in told[1], "its digest is" in told[2]] == [True] * 3


def test_no_text_is_an_empty_lock() -> None:
    assert parse("", "x") == parse("# nothing\n", "x") == Lock()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- 1", "must be a mapping"),
        ("apiVersion: powerd/v9", "apiVersion must be powerd/v1"),
        ("model: {}", 'did you mean "models"?'),
        ("models: {a: {source: x}}", 'needs "digest"'),
        ("models: {a: {source: 1, digest: x}}", "source must be a text"),
        ("models: {a: {source: x, digest: x}}", "digest must be sha256:"),
        ("models: {a: [1]}", 'the entry of "a" must be a mapping'),
        ("models: [", "models.lock.yaml:"),
    ],
)
def test_what_is_no_lock_is_said_with_its_place(text: str, told: str) -> None:
    with pytest.raises(CatalogError) as caught:
        parse(text, "models.lock.yaml")
    assert any(told in str(problem) for problem in caught.value.problems)


@given(st.dictionaries(LINE.filter(bool), st.builds(Locked, LINE.filter(bool), st.just(A), LINE, LINE), max_size=4))
def test_any_lock_reads_back(models: dict[str, Locked]) -> None:
    assert dict(parse(show(Lock(models)), "x").models) == models


def test_the_lock_lies_beside_its_file() -> None:
    assert lock_path(Path("/etc/power/models.yaml")) == Path("/etc/power/models.lock.yaml")
