"""plan, diff, history, rollback, update and lock: what they ask, what they print, how they exit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from powerd.control.schema import Status
from powerd.ctl.converging import lines
from powerd.ctl.main import main
from powerd.ctl.terminal import Style
from tests.ctl.scripted_daemon import ScriptedDaemon, document
from tests.ctl.test_state import STATUS, applied

PLAN: dict[str, Any] = {
    "changes": False,
    "generation": 3,
    "following": 3,
    "file": "/etc/power/models.yaml",
    "hold": "",
    "problems": [],
    "models": [],
    "moves": [],
    "devices": [],
    "waiting": [],
    "deletes": [],
    "warnings": [],
}
GENERATION: dict[str, Any] = {
    "number": 3,
    "accepted_at": 1_700_000_000.0,
    "reason": "rollback to 1",
    "declared": 1,
    "models": [{"name": "coder", "source": "hf.co/a/b", "digest": "sha256:ab", "present": True}],
    "changed": ["~coder (context)"],
    "accepted": True,
    "held": True,
}


@pytest.mark.parametrize(
    ("reply", "code"),
    [({}, 0), ({"changes": True}, 2), ({"problems": ["models.yaml:1:1: no"]}, 1)],
)
def test_plan_exits_by_what_it_found(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str], reply: dict[str, Any], code: int
) -> None:
    daemon.script["GET /v1/plan"] = document(PLAN | reply)
    assert main(["plan"]) == code
    capsys.readouterr()
    assert main(["plan", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == PLAN | reply


def test_plan_sends_another_file_as_text(daemon: ScriptedDaemon, tmp_path: Path) -> None:
    daemon.script["POST /v1/plan"] = document(PLAN)
    (tmp_path / "new.yaml").write_text("models: {}")
    assert main(["plan", "-f", str(tmp_path / "new.yaml"), "--locked"]) == 0
    assert daemon.asked == [("POST /v1/plan", {"text": "models: {}", "locked": True})]
    (tmp_path / "new.yaml").write_bytes(b"\xff")
    assert main(["plan", "-f", str(tmp_path / "new.yaml")]) == 1
    assert main(["plan", "-f", str(tmp_path / "none.yaml")]) == 1


def test_diff_prints_what_differs(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"model": "a", "field": "context", "file": 1, "accepted": 2, "actual": 2, "kind": "pending"}
    said = {"changes": True, "generation": 3, "file": "/f", "hold": "", "problems": [], "rows": [row]}
    daemon.script["GET /v1/diff"] = document(said)
    assert main(["diff"]) == 2
    assert "a        context    1       2               2         pending" in capsys.readouterr().out


def test_history_lists_generations_and_shows_one(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.script["GET /v1/history"] = document([GENERATION])
    daemon.script["GET /v1/history/3"] = document(GENERATION)
    assert main(["history"]) == 0
    told = capsys.readouterr().out
    assert "3 (held)" in told
    assert "rollback to 1    1         ~coder (context)" in told
    assert main(["history", "3"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Generation 3 (rollback to 1), accepted 20")
    assert "coder    hf.co/a/b    sha256:ab    -           yes" in told
    assert main(["history", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [GENERATION]


def test_rollback_says_what_is_held_and_fails_with_its_models(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    done = {"generation": 4, "of": 2, "message": "generation 4 is held", "settled": True, "failing": []}
    daemon.script["POST /v1/rollback"] = document(done)
    assert main(["rollback", "--to", "2", "--wait", "--timeout", "5"]) == 0
    assert capsys.readouterr().out == "rolled back to generation 2; generation 4 is held\n"
    assert daemon.asked == [("POST /v1/rollback", {"to": 2, "wait": True, "timeout": 5.0})]
    daemon.script["POST /v1/rollback"] = document(done | {"failing": ["a"]})
    assert main(["rollback", "--wait"]) == 1
    assert "not as declared: a" in capsys.readouterr().err
    daemon.script["POST /v1/rollback"] = document({"error": "m lacks abc", "code": "conflict"}, 409)
    assert main(["rollback"]) == 1
    assert "m lacks abc" in capsys.readouterr().err


@pytest.mark.parametrize(("state", "code"), [("current", 0), ("updated", 0), ("moved", 2), ("unknown", 1)])
def test_update_exits_by_what_moved(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str], state: str, code: int
) -> None:
    daemon.script["POST /v1/update"] = document([{"model": "a", "source": "x:y", "state": state, "message": "why"}])
    assert main(["update", "--check"]) == code
    assert f"a       x:y       {state}" in capsys.readouterr().out
    assert daemon.asked == [("POST /v1/update", {"check": True})]


def test_lock_is_written_whole_where_it_belongs_or_printed(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "models.lock.yaml"
    said: dict[str, Any] = {"path": str(path), "text": "models: {}\n", "locked": ["a"], "unresolved": []}
    daemon.script["GET /v1/lock"] = document(said)
    assert main(["lock"]) == 0
    assert path.read_text() == "models: {}\n"
    assert [one.name for one in tmp_path.glob("*lock*")] == ["models.lock.yaml"]
    assert main(["lock", "-o", str(tmp_path / "other.yaml")]) == 0
    capsys.readouterr()
    daemon.script["GET /v1/lock"] = document(said | {"unresolved": ["b"]})
    assert main(["lock", "-o", "-"]) == 1
    told = capsys.readouterr()
    assert (told.out, "b has no entry" in told.err) == ("models: {}\n", True)
    assert main(["lock", "-o", str(tmp_path / "none/x")]) == 1


def test_apply_prints_what_happened_and_what_is_held(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [
        {"time": 1.0, "kind": "config", "model": "", "reason": "Accepted", "message": "generation 5"},
        {"time": 2.0, "kind": "load", "model": "coder", "reason": "", "message": "loading"},
    ]
    daemon.script["POST /v1/apply"] = document(applied() | {"events": events, "hold": "generation 5 is held"})
    assert main(["apply", "--locked"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["generation 5 is held", "load coder  loading"]
    assert daemon.asked == [("POST /v1/apply", {"locked": True})]


def test_what_is_under_way_is_drawn_a_line_a_model() -> None:
    loading = {"type": "Loaded", "status": "False", "reason": "Loading", "message": "41%"}
    models = [
        {"name": "a", "want": {}, "have": {}, "conditions": [loading]},
        {"name": "b", "want": {}, "have": {}, "conditions": [], "fetching": {"completed": 5, "total": 10, "rate": 1.0}},
        {"name": "c", "want": {}, "have": {}, "conditions": []},
    ]
    told = lines(msgspec.convert(STATUS | {"models": models}, Status), Style(80))
    assert told[0] == "a Loaded: 41%"
    assert told[1].startswith("b  50%")
    assert len(told) == 2
