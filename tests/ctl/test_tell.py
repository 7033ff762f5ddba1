"""The verbs that tell why, against a scripted daemon."""

from __future__ import annotations

import json
from typing import Any

import pytest

from powerd.ctl.main import main
from tests.ctl.scripted_daemon import Reply, ScriptedDaemon, document, ndjson

Output = pytest.CaptureFixture[str]

EXPLAINED: dict[str, Any] = {
    "model": "coder",
    "kind": "declared",
    "generation": 4,
    "loaded": True,
    "values": [
        {"field": "context", "value": 32768, "origin": "/etc/power/models.yaml:7", "have": 32768},
        {"field": "placement", "value": {"devices": "auto"}, "origin": "automatic", "have": {"CUDA0": 12, "cpu": 3}},
        {"field": "system", "value": "You are careful.\n" * 20, "origin": "/etc/power/models.yaml:9"},
        {"field": "parameters.stop", "value": ["<a>", "<b>"], "origin": "the model\u001b[2Js own parameters"},
    ],
    "choices": ["gpu_layers: 20 of 32 layers go onto CUDA0, because all need 25 GiB and 24 GiB are free"],
}


def test_explain_prints_a_row_for_each_value_and_what_was_chosen(daemon: ScriptedDaemon, capsys: Output) -> None:
    daemon.script["POST /v1/explain"] = document(EXPLAINED)
    assert main(["explain", "coder"]) == 0
    assert daemon.asked == [("POST /v1/explain", {"model": "coder"})]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "coder: declared, generation 4, loaded"
    table = [[cell.strip() for cell in line.split("    ") if cell.strip()] for line in lines[2:7]]
    assert table[0] == ["FIELD", "VALUE", "ENGINE HAS", "FROM"]
    assert table[1] == ["context", "32768", "32768", "/etc/power/models.yaml:7"]
    assert table[2] == ["placement", "devices auto", "CUDA0 12, cpu 3", "automatic"]
    assert table[3][1].endswith("…") and len(table[3][1]) == 60
    assert table[4][1:] == ["<a>, <b>", "-", "the model [2Js own parameters"]
    assert lines[-1].startswith("gpu_layers: 20 of 32 layers go onto CUDA0")


def test_explain_of_what_is_not_loaded_has_no_column_for_the_engine(daemon: ScriptedDaemon, capsys: Output) -> None:
    daemon.script["POST /v1/explain"] = document(EXPLAINED | {"loaded": False, "choices": []})
    assert main(["explain", "coder"]) == 0
    assert "ENGINE HAS" not in capsys.readouterr().out
    assert main(["explain", "coder", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == EXPLAINED["values"]


def test_why_answers_and_tells_what_led_there(daemon: ScriptedDaemon, capsys: Output) -> None:
    reply = {"subject": "coder", "kind": "model", "answer": "it is loaded", "because": ["ready", "loading"]}
    daemon.script["POST /v1/why"] = document(reply)
    assert main(["why", "coder"]) == 0
    assert capsys.readouterr().out == "model coder: it is loaded\n  ready\n  loading\n"
    assert daemon.asked == [("POST /v1/why", {"subject": "coder"})]
    assert main(["why", "coder", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == reply


EVENTS = [
    {"time": 1_800_000_000.0, "kind": "crash", "model": "a", "reason": "crash", "message": "SIGKILL", "number": 1},
    {"time": 1_800_000_001.5, "kind": "config", "model": "", "reason": "", "message": "gen\u001b[2J 2", "number": 2},
]


def test_events_are_a_line_each(daemon: ScriptedDaemon, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    daemon.script["POST /v1/events"] = ndjson(*EVENTS)
    assert main(["events"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("  crash   a            crash: SIGKILL")
    assert second.endswith("  config  -            gen [2J 2")
    assert main(["events", "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == EVENTS


def test_events_pass_the_wish_on(daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("powerd.ctl.tell.time.time", lambda: 1_800_000_000.0)
    daemon.script["POST /v1/events"] = ndjson(*EVENTS)
    assert main(["events", "--since", "5m", "coder"]) == 0
    assert daemon.asked == [("POST /v1/events", {"since": 1_799_999_700.0, "model": "coder"})]


def test_following_ends_with_the_daemon_and_says_so(daemon: ScriptedDaemon, capsys: Output) -> None:
    daemon.script["POST /v1/events"] = Reply(pieces=[b"\n", *(json.dumps(each).encode() + b"\n\n" for each in EVENTS)])
    assert main(["events", "-f", "--json"]) == 1
    seen = capsys.readouterr()
    assert len(seen.out.splitlines()) == 2
    assert "powerd ended the stream" in seen.err
    assert daemon.asked[0][1]["follow"] is True
