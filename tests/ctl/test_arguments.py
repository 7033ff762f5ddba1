from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

import powerd
from powerd.ctl.arguments import parse
from powerd.ctl.verb import GROUPS, Verb
from powerd.ctl.verbs import VERBS, find

PAGE = (Path(powerd.__file__).parent / "docs" / "powerctl.md").read_text()
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == 64
    return capsys.readouterr().err


def test_flags_may_stand_among_the_words_of_a_prompt() -> None:
    _, arguments = parse(["run", "demo", "tell", "--verbose", "me", "-o", "temperature=0.5", "more", "--system", "s"])
    assert (arguments.model, arguments.prompt) == ("demo", ["tell", "me", "more"])
    assert (arguments.verbose, arguments.system, arguments.options) == (True, "s", {"temperature": 0.5})


def test_words_that_look_like_flags_come_after_two_dashes() -> None:
    _, arguments = parse(["run", "demo", "--", "--verbose", "-x"])
    assert (arguments.prompt, arguments.verbose) == (["--verbose", "-x"], False)


@pytest.mark.parametrize("argv", [["run", "m", "--keepalive", "-1m", "hi"], ["run", "m", "--keepalive=-1m", "hi"]])
def test_a_negative_keepalive_is_a_value(argv: list[str]) -> None:
    _, arguments = parse(argv)
    assert (arguments.keepalive, arguments.prompt) == ("-1m", ["hi"])


@pytest.mark.parametrize(
    "argv", [["--socket", "/s", "status"], ["status", "--socket", "/s"], ["--socket=/s", "status"]]
)
def test_the_socket_may_stand_before_or_after_the_verb(argv: list[str]) -> None:
    assert parse(argv)[1].socket == "/s"
    assert parse(["status"])[1].socket is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature=0.2", {"temperature": 0.2}),
        ("num_ctx=4096", {"num_ctx": 4096}),
        ('stop=["a","b"]', {"stop": ["a", "b"]}),
        ("word=plain=text", {"word": "plain=text"}),
        ("empty=", {"empty": ""}),
    ],
)
def test_options_are_json_where_they_read_as_json(option: str, value: dict[str, object]) -> None:
    assert parse(["run", "m", "-o", option])[1].options == value


def test_options_of_one_call_do_not_leak_into_the_next() -> None:
    parse(["run", "m", "-o", "a=1"])
    assert parse(["run", "m"])[1].options == {}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("90", 90.0), ("1.5", 1.5), ("90s", 90.0), ("2m", 120.0), ("1.5h", 5400.0), ("1d", 86400.0)],
)
def test_times_are_seconds_or_have_a_unit(text: str, seconds: float) -> None:
    assert parse(["wait", "--for", "Ready", "m", "--timeout", text])[1].timeout == seconds


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["status", "--nope"], "unrecognized arguments: --nope"),
        (["statis"], '"statis" is not a verb'),
        (["stat"], '"stat" is not a verb'),
        (["--json", "status"], "unrecognized arguments"),
        (["list", "--js"], "unrecognized arguments: --js"),
        (["cp", "a"], "DESTINATION"),
        (["rm"], "MODEL"),
        (["wait"], "--for"),
        (["wait", "--for", "Ready", "--timeout", "soon"], '"soon" is not a length of time'),
        (["wait", "--for", "Ready", "--timeout=-1s"], "is not a length of time"),
        (["wait", "--for", "Ready", "--timeout", "9" * 400], "is too long"),
        (["load", "m", "--for", "1e9"], "is not a length of time"),
        (["run", "m", "-o", "temperature"], '"temperature" is not KEY=VALUE'),
        (["run", "m", "-o", "=1"], "is not KEY=VALUE"),
        (["run", "m", "-o", "a=1", "-o", "a=2"], "option a is given twice"),
        (["show", "m", "--system", "--license"], "not allowed with"),
        (["help", "nope"], 'no help on "nope"'),
        ([], "usage: powerctl"),
    ],
)
def test_wrong_usage_exits_64_and_says_what(argv: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert text in refused(argv, capsys)


@pytest.mark.parametrize("argv", [["help"], ["--help"], ["-h"]])
def test_help_lists_every_verb_in_its_group(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    starts = {group: text.index(f"\n{group}:") for group in GROUPS}
    for verb in VERBS:
        at = text.index(f"\n  {verb.name} ")
        assert max((start, group) for group, start in starts.items() if start < at)[1] == verb.group


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_help_of_a_verb_has_examples_that_parse(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["help", verb.name], [verb.name, "--help"]):
        with pytest.raises(SystemExit) as caught:
            parse(argv)
        assert caught.value.code == 0
        assert verb.examples[0] in capsys.readouterr().out
    for example in verb.examples:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', example.partition(" < ")[0])]
        assert parse(words)[0] is verb


@pytest.mark.parametrize("name", ["df", "gc", "fsck"])
def test_the_verbs_about_the_store_may_be_written_behind_store(name: str) -> None:
    assert parse(["store", name, "--json"]) == parse([name, "--json"])


@pytest.mark.parametrize("argv", [["store"], ["store", "pull", "x"], ["store", "--json"], ["store", "nope"]])
def test_store_alone_says_what_may_follow(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "goes before one of df, gc, fsck, adopt" in refused(argv, capsys)


def test_ls_is_list() -> None:
    assert find("ls") is find("list")
    assert find("ls") is not None


def test_the_page_has_a_section_for_every_verb_and_no_other() -> None:
    assert list(SECTIONS) == [verb.name for verb in VERBS]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_the_page_names_every_flag_of_every_verb(verb: Verb) -> None:
    section = SECTIONS[verb.name]
    assert section.strip().startswith(f"`powerctl {verb.name}")
    for action in verb.parser()._actions:
        for flag in set(action.option_strings) - {"-h", "--help", "--socket"}:
            assert re.search(rf"{flag}\b", section), f"{verb.name} {flag} is not documented"
        if not action.option_strings and action.metavar != argparse.SUPPRESS:
            assert str(action.metavar) in section
    for alias in verb.aliases:
        assert f"`powerctl {alias}`" in section


def test_the_page_names_no_flag_that_does_not_exist() -> None:
    for verb in VERBS:
        known = {flag for action in verb.parser()._actions for flag in action.option_strings} | {"--check"}
        pattern = rf"^`?powerctl {verb.name}\b.*$|^\* `(--?[a-z-]+)"
        for example in re.findall(pattern, SECTIONS[verb.name], re.MULTILINE):
            assert not example or example in known, f"{verb.name} {example}"
