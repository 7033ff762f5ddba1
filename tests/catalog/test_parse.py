"""The file as a whole: version, names, defaults, every problem at once."""

from __future__ import annotations

import time

import pytest

from powerd.catalog.problems import MAX_PROBLEMS
from powerd.catalog.spec import ALWAYS, Catalog, CatalogError, Defaults, Position, Require
from powerd.names import Name
from tests.catalog.reading import HEAD, catalog, entry, problems


def test_one_entry_is_enough() -> None:
    text = f"{HEAD}models:\n  demo:\n    source: builtin:demo\n"
    read = catalog(text)
    assert list(read.models) == ["demo"]
    spec = read.models["demo"]
    assert spec.name == Name.declared("demo")
    assert spec.at == Position("m.yaml", 3, 3)
    assert (spec.source, spec.state) == ("builtin:demo", "available")
    assert (read.documents, read.warnings, read.files, read.defaults) == ({"m.yaml": text}, (), (), Defaults())


@pytest.mark.parametrize(
    "text", ["", "# nothing yet\n", HEAD, f"{HEAD}models:\n", f"{HEAD}models: {{}}\n", f"{HEAD}models: ~\ndefaults:\n"]
)
def test_y06_a_file_without_models_gives_a_catalog_without_models(text: str) -> None:
    assert catalog(text) == Catalog(documents={"m.yaml": text})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "models:\n  a: {source: x}\n",
            'm.yaml:1:1: the file does not say its version; add the line "apiVersion: powerd/v1"',
        ),
        (
            "apiVersion: powerd/v2\n",
            'm.yaml:1:13: apiVersion must be powerd/v1, the one this version reads, not "powerd/v2"',
        ),
        ("apiVersion: 1\n", "not 1"),
        ("apiVersion:\n", "but it has no value"),
        ("apiVersion: [powerd/v1]\n", "not a list"),
        ("hello\n", 'm.yaml:1:1: the file must be a mapping that begins with "apiVersion: powerd/v1", not "hello"'),
        ("- a\n", "not a list"),
        (f"{HEAD}models: [a]\n", "m.yaml:2:9: models: must be a mapping of model names, not a list"),
        (f"{HEAD}defaults: 5\n", "m.yaml:2:11: defaults: must be a mapping of fields, not 5"),
        (f"{HEAD}modles: {{}}\n", 'm.yaml:2:1: unknown key "modles"; did you mean "models"?'),
        (f"{HEAD}X-a: 1\n", 'unknown key "X-a"'),
        (f"{HEAD}source: x\n", '"source" is a field of a model; it belongs under its name, under models'),
        (f"{HEAD}models:\n  a: llama3\n", 'm.yaml:3:6: a: must be a mapping of fields such as source, not "llama3"'),
        (f"{HEAD}models:\n  a:\n", "a: must be a mapping of fields such as source, but it has no value"),
        (f"{HEAD}models:\n  a: {{}}\n", 'm.yaml:3:3: a: needs "source", which says where the weights come from'),
    ],
)
def test_y04_a_file_of_another_shape_is_refused(text: str, message: str) -> None:
    (refusal,) = problems(text)
    assert message in refusal


def test_a_file_of_another_version_is_judged_by_nothing_else() -> None:
    assert len(problems("apiVersion: powerd/v9\nmodels: {a: {whatever: 1}}\nfuture: 1\n")) == 1


def test_x_keys_are_passed_over_and_may_hold_anchors() -> None:
    base = f"{HEAD}x-base: &base {{source: x, context: 4096}}\nx-: [1]\n"
    read = catalog(base + "models:\n  a: *base\n  b: {<<: *base, context: 8192}\n")
    assert [(spec.source, spec.context) for spec in read.models.values()] == [("x", 4096), ("x", 8192)]


def test_y04_every_problem_is_said_at_once_in_the_order_of_the_file() -> None:
    text = (
        "apiVersion: powerd/v1\n"
        "defaults: {parallel: 0}\n"
        "models:\n"
        "  a:\n"
        "    contxt: 1\n"
        "    context: no\n"
        "    context: 5\n"
        "  b: {source: x, hidden: true}\n"
        "  A: {source: y}\n"
        "nodes: {}\n"
    )
    assert [(line.split(":")[1], line.split(": ", 1)[1]) for line in problems(text)] == [
        ("2", "defaults: parallel must be auto or a whole number from 1 to 256, not 0"),
        ("4", 'a: needs "source", which says where the weights come from'),
        ("5", 'a: unknown key "contxt"; did you mean "context"?'),
        ("6", 'a: context must be auto or a whole number from 1 to 2147483647, not "no"'),
        ("7", 'duplicate key "context": already at m.yaml:6:5; remove one of them'),
        ("8", 'b: "hidden" is reserved for a later version and not available yet; remove it'),
        ("9", 'model "A" has the same name as the model "a" at m.yaml:4:3; change one of them'),
        ("10", 'unknown key "nodes"; did you mean "models"?'),
    ]


def test_the_error_reads_as_its_problems() -> None:
    with pytest.raises(CatalogError) as caught:
        catalog("a\n")
    assert str(caught.value) == str(caught.value.problems[0])


def test_a_problem_behind_an_alias_is_said_once_for_each_model_it_concerns() -> None:
    text = f"{HEAD}x-a: &a {{source: x, contxt: 1}}\nmodels:\n  a: *a\n  b: *a\n"
    assert [line.split(": ")[1] for line in problems(text)] == ["a", "b"]


def test_a_file_that_is_all_wrong_is_refused_in_rounds() -> None:
    text = f"{HEAD}models:\n" + "".join(f"  m{n}: {{contxtt: 1, zourzz: 2}}\n" for n in range(2000))
    started = time.perf_counter()
    found = problems(text)
    assert len(found) == MAX_PROBLEMS + 1
    assert f"only the first {MAX_PROBLEMS} are listed" in found[-1]
    assert time.perf_counter() - started < 10


def test_y10_ten_thousand_models_are_read() -> None:
    text = f"{HEAD}models:\n" + "".join(
        f"  m{n}: {{source: hf.co/x/y{n}, context: 4096, aliases: [a{n}]}}\n" for n in range(10_000)
    )
    assert len(catalog(text).models) == 10_000


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("coder", "coder"),
        ("coder:7b", "coder:7b"),
        ("coder:latest", "coder"),
        ("Qwen2.5_x-1", "Qwen2.5_x-1"),
        ("405", "405"),
    ],
)
def test_a_model_is_named_by_name_and_tag(written: str, shown: str) -> None:
    read = catalog(f"{HEAD}models:\n  {written}: {{source: x}}\n")
    (spec,) = read.models.values()
    assert list(read.models) == [shown] == [spec.display]
    assert spec.name.is_declared


@pytest.mark.parametrize("name", ["a/b", "hf.co/a/b", "http://x/y"])
def test_a_model_name_has_no_host_or_namespace(name: str) -> None:
    assert (
        f'm.yaml:3:3: model "{name}" may not have a host or namespace'
        in problems(f'{HEAD}models:\n  "{name}": {{source: x}}\n')[0]
    )


@pytest.mark.parametrize("name", ["a b", "", ":", "a:", ":b", "a:b:c", ".a", "-a", "..", "ä", "a" * 81, "a\\n"])
def test_n_a_name_outside_the_grammar_is_refused(name: str) -> None:
    (refusal,) = problems(f'{HEAD}models:\n  "{name}": {{source: x}}\n')
    assert "is not a model name; write NAME or NAME:TAG" in refusal


@pytest.mark.parametrize(("one", "other"), [("demo", "DEMO"), ("demo", "demo:latest"), ("demo:A", "demo:a")])
def test_y08_the_same_model_twice_is_refused(one: str, other: str) -> None:
    (refusal,) = problems(f"{HEAD}models:\n  {one}: {{source: x}}\n  {other}: {{source: y}}\n")
    assert refusal.endswith(f'model "{other}" has the same name as the model "{one}" at m.yaml:3:3; change one of them')


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a: {source: x, aliases: [b]}", "b: {source: y}"),
        ("b: {source: y}", "a: {source: x, aliases: [b]}"),
        ("a: {source: x, aliases: [B:Latest]}", "b: {source: y}"),
        ("a: {source: x, aliases: [c]}", "b: {source: y, aliases: [C]}"),
        ("a: {source: x, aliases: [A]}", "b: {source: y}"),
        ("a: {source: x, aliases: [c, 'c:latest']}", "b: {source: y}"),
        ("a: {source: x, aliases: [registry.ollama.ai/library/b]}", "b: {source: y}"),
        ("a: {source: x, aliases: [b]}", "b: {state: absent}"),
        ("a: {source: x, aliases: [b]}", "b: {source: y, aliases: [a]}"),
    ],
)
def test_y08_an_alias_equal_to_another_name_is_refused(first: str, second: str) -> None:
    found = problems(f"{HEAD}models:\n  {first}\n  {second}\n")
    assert found
    assert all("alias" in line and "has the same name as" in line for line in found)


def test_y08_the_two_places_of_a_name_given_away_twice_are_both_said() -> None:
    (refusal,) = problems(f"{HEAD}models:\n  a: {{source: x, aliases: [gpt]}}\n  b: {{source: y, aliases: [GPT]}}\n")
    assert refusal == (
        'm.yaml:4:28: b: alias "GPT" has the same name as the alias "gpt" at m.yaml:3:28; change one of them'
    )


def test_aliases_are_names_of_any_kind() -> None:
    spec = catalog(entry("source: x\naliases: [gpt-4o, team/coder:7b, 405, on]")).models["m"]
    assert spec.aliases == tuple(map(Name.parse, ("gpt-4o", "team/coder:7b", "405", "on")))


def test_a_tombstone_needs_no_source() -> None:
    spec = catalog(f"{HEAD}models:\n  old: {{state: absent}}\n").models["old"]
    assert (spec.state, spec.source) == ("absent", "")


def test_defaults_fill_what_a_model_does_not_say() -> None:
    text = (
        f"{HEAD}"
        "defaults:\n"
        "  {keep_alive: always, context: 4096, state: loaded, system: hi, kv_cache: q8_0, parallel: 2, priority: 3,\n"
        "   parameters: {temperature: 0.1, top_k: 5, stop: [a, b]}, require: {gpu: true}, overflow: reject}\n"
        "models:\n"
        "  a: {source: x}\n"
        "  b:\n"
        "    {source: x, keep_alive: 5m, context: auto, state: available, system: ho, \n"
        "     parameters: {top_k: 7, stop: [c]}, require: {full_offload: true}}\n"
        "  c: {source: x, require: {gpu: false}, parameters: {}}\n"
    )
    read = catalog(text)
    a, b, c = read.models.values()
    assert (a.keep_alive, a.context, a.state, a.system, a.kv_cache, a.parallel) == (
        ALWAYS,
        4096,
        "loaded",
        "hi",
        "q8_0",
        2,
    )
    assert a.parameters == {"temperature": 0.1, "top_k": 5, "stop": ("a", "b")}
    assert (b.keep_alive, b.context, b.state, b.system, b.overflow) == (300.0, None, "available", "ho", "reject")
    assert b.parameters == {"temperature": 0.1, "top_k": 7, "stop": ("c",)}
    assert b.require == Require(gpu=True, full_offload=True)
    assert c.require == Require()
    assert c.parameters == a.parameters
    assert read.defaults == Defaults(
        keep_alive=ALWAYS,
        context=4096,
        parallel=2,
        kv_cache="q8_0",
        overflow="reject",
        parameters={"temperature": 0.1, "top_k": 5, "stop": ("a", "b")},
        system="hi",
        priority=3,
        require=Require(gpu=True),
    )


@pytest.mark.parametrize("line", ["source: x", "digest: x", "aliases: [a]", "adapters: []", "draft: {source: x}"])
def test_what_belongs_to_one_model_has_no_default(line: str) -> None:
    (refusal,) = problems(f"{HEAD}defaults:\n  {line}\n")
    assert refusal == f'm.yaml:3:3: defaults: "{line.partition(":")[0]}" belongs to one model; write it under models'


def test_a_default_cannot_remove_every_model() -> None:
    (refusal,) = problems(f"{HEAD}defaults:\n  state: absent\n  system: absent\n")
    assert refusal == "m.yaml:3:10: defaults: state cannot be absent for every model; write it under models"


def test_nothing_of_an_accepted_catalog_can_be_changed() -> None:
    read = catalog(entry("source: x\nparameters: {seed: 1}"))
    with pytest.raises(TypeError):
        read.models["n"] = read.models["m"]  # type: ignore[index]  # the point of the test
    with pytest.raises(TypeError):
        read.models["m"].parameters["seed"] = 2  # type: ignore[index]  # the point of the test
