"""The loader: YAML with positions, without YAML's traps."""

from __future__ import annotations

import time

import pytest

from powerd.catalog.loader import MAX_NODES, MAX_TEXT, Block, Items, Node, Scalar, load
from powerd.catalog.problems import Problems
from powerd.catalog.spec import CatalogError
from powerd.catalog.values import plain


def read(text: str) -> Node | None:
    found = Problems()
    root = load(text, "f", found)
    found.settle()
    return root


def value(text: str) -> object:
    root = read(text)
    return None if root is None else plain(root)


def refusals(text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def at(node: Node) -> tuple[int, int]:
    return node.at.line, node.at.column


def test_every_node_knows_where_it_stands() -> None:
    root = read("# ä\nä: [ü, {k: 1}]\nlong:\n  - 😀 x\nempty:\ntext: |\n  line\n")
    assert isinstance(root, Block)
    places = {entry.key: ((entry.at.line, entry.at.column), at(entry.node)) for entry in root.entries}
    assert places == {
        "ä": ((2, 1), (2, 4)),
        "long": ((3, 1), (4, 3)),
        "empty": ((5, 1), (5, 7)),
        "text": ((6, 1), (6, 7)),
    }
    listed = root.entries[0].node
    assert isinstance(listed, Items)
    assert [at(node) for node in listed.nodes] == [(2, 5), (2, 8)]


def test_positions_hold_after_a_byte_order_mark_and_with_crlf() -> None:
    root = read("\ufeffa: 1\r\nb: 2\r\n")
    assert isinstance(root, Block)
    assert [(entry.at.line, entry.at.column) for entry in root.entries] == [(1, 1), (2, 1)]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "--- # nothing\n...\n", "~", "\ufeff"])
def test_y06_nothing_but_comments_is_nothing(text: str) -> None:
    assert read(text) is None


def test_y04_quoted_scalars_are_text() -> None:
    assert value("""{a: "5", b: 'true', c: "", d: 5}""") == {"a": "5", "b": "true", "c": "", "d": 5}
    assert value("a: |-\n  7\nb: >-\n  true\n") == {"a": "7", "b": "true"}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert value("{405: a, true: b, ~: c, 1.0: d, on: e}") == {"405": "a", "true": "b", "~": "c", "1.0": "d", "on": "e"}


def test_anchors_and_aliases_give_the_same_value() -> None:
    assert value("a: &x [1, 2]\nb: *x\nc: {d: *x}\n") == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}


def test_an_anchor_given_twice_means_the_latest() -> None:
    assert value("[&x 1, *x, &x 2, *x]") == [1, 1, 2, 2]


def test_an_alias_may_be_a_key() -> None:
    assert value("a: &x key\n*x : 1\n") == {"a": "key", "key": 1}


def test_the_merge_key_fills_in_what_a_mapping_does_not_have() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\n"
    assert value(text + "c: {<<: *a, y: 9}") == {"a": {"x": 1, "y": 2}, "b": {"y": 3, "z": 4}, "c": {"y": 9, "x": 1}}
    merged = value(text + "c:\n  <<: [*a, *b]\n")
    assert isinstance(merged, dict)
    assert merged["c"] == {"x": 1, "y": 2, "z": 4}


def test_a_merged_entry_keeps_its_own_place() -> None:
    root = read("a: &a {x: 1}\nb:\n  <<: *a\n")
    assert isinstance(root, Block)
    merged = root.entries[1].node
    assert isinstance(merged, Block)
    assert [(entry.key, entry.at.line) for entry in merged.entries] == [("x", 1)]


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert value("a: {'<<': {b: 1}}") == {"a": {"<<": {"b": 1}}}


@pytest.mark.parametrize("merged", ["5", "[1]", "[{a: 1}, x]", ""])
def test_only_mappings_can_be_merged(merged: str) -> None:
    assert "takes a mapping or a list of mappings" in refusals(f"<<: {merged}")[0]


def test_y02_a_key_written_twice_is_an_error_with_both_places() -> None:
    assert refusals("a: 1\nb: {c: 1,\n  c: 2}\na: 3\n") == [
        'f:3:3: duplicate key "c": already at f:2:5; remove one of them',
        'f:4:1: duplicate key "a": already at f:1:1; remove one of them',
    ]


def test_y02_the_merge_key_too() -> None:
    assert 'duplicate key "<<": already at f:2:5' in refusals("a: &a {b: 1}\nc: {<<: *a, <<: *a}")[0]


def test_y01_an_alias_bomb_is_refused_when_it_passes_the_cap() -> None:
    lines = ["x0: &a0 [1]"] + [f"x{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    started = time.perf_counter()
    (refusal,) = refusals("\n".join(lines))
    assert f"more than {MAX_NODES} values" in refusal
    assert time.perf_counter() - started < 5


def test_y01_nine_aliases_of_one_value_are_fine() -> None:
    assert value(f"a: &x [1]\nb: [{', '.join(['*x'] * 9)}]") == {"a": [1], "b": [[1]] * 9}


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: {c: *a}}", "&a {<<: *a}", "a: &x 1\nb: &x [*x]"])
def test_y01_an_alias_inside_what_it_repeats_is_refused(text: str) -> None:
    assert "stands inside what it repeats" in refusals(text)[0]


def test_an_alias_without_an_anchor_is_refused() -> None:
    assert refusals("a: *b\nb: &b 1") == ['f:1:4: the alias "*b" has no anchor of that name before it']


@pytest.mark.parametrize("text", ["[" * 100_000, "[\n" * 100_000, "{" * 100_000, "- " * 100_000, "? " * 100_000])
def test_y01_any_depth_is_refused_at_once(text: str) -> None:
    started = time.perf_counter()
    assert "nested more than 32 deep" in refusals(text)[0]
    assert time.perf_counter() - started < 5


def test_y01_depth_counts_through_aliases() -> None:
    lines = ["x0: &a0 [1]"] + [f"x{i}: &a{i} [*a{i - 1}]" for i in range(1, 40)]
    assert "nested more than 32 deep" in refusals("\n".join(lines))[0]


def test_thirty_two_levels_are_not_too_deep() -> None:
    assert value("[" * 32 + "]" * 32)
    assert "nested more than 32 deep" in refusals("[" * 33 + "]" * 33)[0]


@pytest.mark.parametrize("tagged", ["!!python/object/apply:os.system [x]", "!!str 5", "!x {a: 1}", "! 5", "!<x> 5"])
def test_tags_are_refused(tagged: str) -> None:
    assert "f:1:4: the tag" in refusals(f"a: {tagged}")[0]


def test_every_refusal_that_can_be_passed_over_is_listed() -> None:
    assert [line.split(":")[1] for line in refusals("a: !!str x\na: 1\n[1]: 2\nb: " + "9" * 99)] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2\n", "---\na: 1\n---\n", "a\n...\nb\n"])
def test_a_second_document_is_refused(text: str) -> None:
    assert any(word in refusals(text)[0] for word in ("a second document begins here", "<document start>"))


@pytest.mark.parametrize(
    ("character", "shown"), [("\0", "U+0000"), ("\x1b", "U+001B"), ("\ud800", "U+D800"), ("\ufffe", "U+FFFE")]
)
def test_characters_yaml_forbids_are_refused_with_their_place(character: str, shown: str) -> None:
    assert refusals(f"a: 1\nbc: x{character}") == [f"f:2:6: character {shown} is not allowed in YAML"]


@pytest.mark.parametrize("escape", [r"\0", r"\x00"])
def test_an_escaped_nul_is_refused(escape: str) -> None:
    assert "f:1:4: text may not hold the character NUL" in refusals(f'a: "b{escape}"')[0]


def test_directives_that_declare_tags_are_refused_before_they_cost_anything() -> None:
    text = "".join(f"%TAG !{number:x}! x\n" for number in range(50_000)) + "---\na: 1\n"
    started = time.perf_counter()
    assert refusals(text) == ["f:1:1: %TAG directives are not supported; remove the line"]
    assert time.perf_counter() - started < 5
    assert value("%YAML 1.2\n---\na: 1\n") == {"a": 1}


def test_more_than_a_mebibyte_is_refused() -> None:
    assert "longer than 1048576 characters" in refusals("#" * (MAX_TEXT + 1))[0]
    assert read("#" * MAX_TEXT) is None


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: [1,\n", "f:2:1:", "flow node"),
        ("a: 1\nb: 'x\n", "f:3:1:", "quoted scalar that begins in line 2"),
        ("a:\n\tb: 1\n", "f:2:1:", "indent with spaces, not with tabs"),
        ("a: b: c\n", "f:1:5:", "mapping values are not allowed"),
        ("a: 1\n b: 2\n", "f:2:3:", "mapping values are not allowed"),
        ("a: @x\n", "f:1:4:", "cannot start any token"),
    ],
)
def test_y05_text_that_is_not_yaml_is_refused_with_its_place(text: str, place: str, words: str) -> None:
    (refusal,) = refusals(text)
    assert refusal.startswith(f"{place} not valid YAML: ")
    assert words in refusal


def test_what_was_found_before_the_text_broke_is_said_too() -> None:
    repeated, broken = refusals("a: {b: 1, b: 2}\nc: [")
    assert repeated.startswith("f:1:11: duplicate key")
    assert "not valid YAML" in broken


def test_a_scalar_says_whether_it_was_quoted() -> None:
    root = read("[5, '5']")
    assert isinstance(root, Items)
    assert [(node.text, node.plain) for node in root.nodes if isinstance(node, Scalar)] == [("5", True), ("5", False)]
