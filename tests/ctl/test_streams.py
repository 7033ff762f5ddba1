from __future__ import annotations

import json

import pytest

from powerd.ctl.main import main
from tests.ctl.scripted_daemon import ScriptedDaemon, ndjson

Captured = pytest.CaptureFixture[str]

STEPS = [
    {"status": "pulling manifest"},
    {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5", "total": 2000},
    {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5", "total": 2000, "completed": 2000},
    {"status": "success"},
]


def test_pull_in_a_pipe_prints_lines(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["POST /api/pull"] = ndjson(*STEPS)
    assert main(["pull", "demo"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "pulling manifest",
        "pulling dde5aa3fc5ff:   0% 0 B/2 KB",
        "pulling dde5aa3fc5ff: 100% 2 KB",
        "success",
    ]
    assert daemon.asked == [("POST /api/pull", {"model": "demo", "insecure": False})]


def test_pull_json_prints_every_object_on_its_line(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["POST /api/pull"] = ndjson(*STEPS)
    assert main(["pull", "demo", "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == STEPS


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_pull_that_fails_half_way_exits_one(daemon: ScriptedDaemon, capsys: Captured, flags: list[str]) -> None:
    daemon.script["POST /api/pull"] = ndjson(STEPS[0], {"error": "pull model manifest: file does not exist"})
    assert main(["pull", "nope", *flags]) == 1
    seen = capsys.readouterr()
    assert seen.err == "Error: pull model manifest: file does not exist\n"
    assert "pulling manifest" in seen.out


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_pull_without_its_last_word_is_no_success(daemon: ScriptedDaemon, capsys: Captured, flags: list[str]) -> None:
    daemon.script["POST /api/pull"] = ndjson(*STEPS[:-1])
    assert main(["pull", "demo", *flags]) == 1
    assert "ended early" in capsys.readouterr().err
