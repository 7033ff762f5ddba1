from __future__ import annotations

import re

import pytest

from powerd.ctl.main import main
from powerd.ctl.verbs import VERBS


def test_the_manual_page_has_every_verb_and_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manual"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(".TH POWERCTL 1 ")
    plain = page.replace(r"\-", "-")
    sections = dict(re.findall(r'^\.SS "powerctl (\S+?)[ "].*?\n(.*?)(?=^\.S[SH]|\Z)', plain, re.MULTILINE | re.DOTALL))
    assert list(sections) == [verb.name for verb in VERBS]
    for verb in VERBS:
        for action in verb.actions():
            for flag in set(action.option_strings) - {"-h", "--help", "--socket"}:
                assert flag in sections[verb.name], f"{verb.name} {flag}"


def test_no_line_of_text_is_taken_for_a_request(capsys: pytest.CaptureFixture[str]) -> None:
    main(["manual"])
    known = {"TH", "SH", "SS", "B", "TP", "PP", "EX", "EE"}
    requests = re.findall(r"^[.'](\S*)", capsys.readouterr().out, re.MULTILINE)
    assert set(requests) <= known
