from __future__ import annotations

import json
from typing import Any

import pytest

from powerd.ctl.main import main
from tests.ctl.scripted_daemon import ScriptedDaemon, document

NODE = {
    "version": "0.1.0",
    "pid": 42,
    "uptime": 7200.0,
    "listen": "127.0.0.1:11434",
    "models_file": "/etc/power/models.yaml",
    "store": "/var/lib/power/models",
    "memory_budget": 24_000_000_000,
    "memory_used": 3_200_000_000,
}
STATUS: dict[str, Any] = {
    "generation": 4,
    "conditions": [],
    "models": [{"name": "demo", "want": {"state": "loaded"}, "have": {"state": "running"}, "conditions": []}],
    "node": NODE,
    "events": [],
    "as_declared": True,
    "from_a_later_version": 1,
}


@pytest.mark.parametrize(("as_declared", "code"), [(True, 0), (False, 1)])
def test_status_exits_one_when_something_is_not_as_declared(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str], as_declared: bool, code: int
) -> None:
    daemon.script["GET /v1/status"] = document(STATUS | {"as_declared": as_declared})
    assert main(["status"]) == code
    assert "demo    loaded → running" in capsys.readouterr().out
    assert main(["status", "--json"]) == code


def test_status_watch_needs_a_terminal(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--watch"]) == 64
    assert "powerctl events --follow" in capsys.readouterr().err


def test_status_json_is_the_daemons_object_as_it_is(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.script["GET /v1/status"] = document(STATUS)
    main(["status", "--json"])
    assert json.loads(capsys.readouterr().out) == STATUS


def test_status_of_another_version_fails_with_a_sentence(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.script["GET /v1/status"] = document({"generation": "four"})
    assert main(["status"]) == 1
    assert "compare `powerctl --version`" in capsys.readouterr().err


def applied(**over: object) -> dict[str, object]:
    return {"generation": 5, "changed": True, "settled": True, "problems": [], "failing": [], **over}


@pytest.mark.parametrize(
    ("argv", "reply", "code", "out", "err"),
    [
        ([], applied(), 0, "generation 5 accepted\n", ""),
        ([], applied(changed=False), 0, "unchanged\n", ""),
        ([], applied(settled=False, failing=["a"]), 0, "generation 5 accepted\n", ""),
        (["--wait"], applied(), 0, "generation 5 accepted\n", ""),
        (["--wait"], applied(failing=["a", "b"]), 1, "generation 5 accepted\n", "not as declared: a, b;"),
        (
            ["--wait", "--timeout", "2"],
            applied(settled=False),
            1,
            "generation 5 accepted\n",
            "not settled after 2 seconds",
        ),
        (
            [],
            applied(problems=["m.yaml:3:7: unknown key"]),
            1,
            "",
            "m.yaml:3:7: unknown key\nError: models.yaml was refused",
        ),
    ],
)
def test_apply_says_what_came_of_it(
    daemon: ScriptedDaemon,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    reply: dict[str, object],
    code: int,
    out: str,
    err: str,
) -> None:
    daemon.script["POST /v1/apply"] = document(reply)
    assert main(["apply", *argv]) == code
    seen = capsys.readouterr()
    assert seen.out == out
    assert err in seen.err
    assert bool(err) == bool(seen.err)
    assert main(["apply", "--json", *argv]) == code
    assert json.loads(capsys.readouterr().out) == reply


def test_apply_passes_the_time_on(daemon: ScriptedDaemon) -> None:
    daemon.script["POST /v1/apply"] = document(applied())
    main(["apply", "--wait", "--timeout", "2m"])
    main(["apply"])
    assert [body for _, body in daemon.asked] == [{"wait": True, "timeout": 120.0}, {}]


MET = {"met": True, "condition": {"type": "Ready", "status": "True"}}
UNMET = {
    "met": False,
    "condition": {"type": "Fetched", "status": "False", "reason": "Offline", "message": "no answer from the registry"},
}


@pytest.mark.parametrize(
    ("argv", "body"),
    [
        (["--for=Ready", "coder"], {"condition": "Ready", "model": "coder", "timeout": 60.0}),
        (["--for", "Ready", "model/coder", "--timeout", "5"], {"condition": "Ready", "model": "coder", "timeout": 5.0}),
        (["--for=Reconciled"], {"condition": "Reconciled", "timeout": 60.0}),
    ],
)
def test_wait_asks_for_a_model_or_the_node(daemon: ScriptedDaemon, argv: list[str], body: dict[str, object]) -> None:
    daemon.script["POST /v1/wait"] = document(MET)
    assert main(["wait", *argv]) == 0
    assert daemon.asked == [("POST /v1/wait", body)]


def test_wait_exits_one_and_says_how_the_condition_stands(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.script["POST /v1/wait"] = document(UNMET)
    assert main(["wait", "--for=Fetched", "coder", "--timeout", "5"]) == 1
    message = "Error: Fetched of model coder is False after 5 seconds (Offline: no answer from the registry)\n"
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize(("reply", "code"), [(MET, 0), (UNMET, 1)])
def test_wait_json(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str], reply: dict[str, object], code: int
) -> None:
    daemon.script["POST /v1/wait"] = document(reply)
    assert main(["wait", "--for=Ready", "coder", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == reply


def test_wait_for_a_condition_nobody_knows_is_the_daemons_refusal(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.script["POST /v1/wait"] = document({"error": '"Redy" is no condition', "code": "bad_request"}, status=400)
    assert main(["wait", "--for=Redy"]) == 1
    assert capsys.readouterr().err == 'Error: "Redy" is no condition\n'
