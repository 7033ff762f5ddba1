from __future__ import annotations

import json
from typing import Any

import pytest

from powerd.ctl.main import main
from tests.ctl.scripted_daemon import Reply, ScriptedDaemon, document

Captured = pytest.CaptureFixture[str]

TAGS: dict[str, Any] = {
    "models": [
        {"name": "demo:latest", "modified_at": "2020-01-01T00:00:00.5Z", "size": 3_400_000_000, "digest": "ab" * 32},
        {"name": "Qwen3:0.6b", "modified_at": "", "digest": ""},
    ]
}


def row(**over: object) -> dict[str, object]:
    return {
        "model": "demo:latest",
        "names": ["demo:latest"],
        "pid": 7,
        "state": "ready",
        "context": 4096,
        "parallel": 2,
        "size": 3_400_000_000,
        "size_vram": 0,
        "expires_at": None,
        "requests": 1,
        "queued": 0,
        "digest": "sha256:" + "cd" * 32,
        "device": "cpu",
        **over,
    }


@pytest.mark.parametrize("verb", ["list", "ls"])
def test_list_has_ollamas_columns(daemon: ScriptedDaemon, capsys: Captured, verb: str) -> None:
    daemon.script["GET /api/tags"] = document(TAGS)
    assert main([verb]) == 0
    header, demo, qwen = capsys.readouterr().out.splitlines()
    assert header == "NAME           ID              SIZE      MODIFIED"
    assert demo.startswith("demo:latest    abababababab    3.4 GB    ")
    assert demo.endswith(" years ago")
    assert qwen == "Qwen3:0.6b     -               -         -"


def test_list_keeps_to_a_prefix_in_any_case(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["GET /api/tags"] = document(TAGS)
    assert main(["list", "qwen", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == TAGS["models"][1:]


def test_list_json_is_an_array_even_when_empty(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["GET /api/tags"] = document({"models": []})
    assert main(["list", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "NAME    ID    SIZE    MODIFIED\n"


def test_ps_has_ollamas_columns_first(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["GET /v1/ps"] = document([row()])
    assert main(["ps"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME           ID              SIZE      PROCESSOR    CONTEXT    UNTIL      PID    REQUESTS",
        "demo:latest    cdcdcdcdcdcd    3.4 GB    100% CPU     4096       Forever    7      1",
    ]


@pytest.mark.parametrize(
    ("over", "until"),
    [
        ({"state": "loading", "progress": 0.6}, "Loading 60%"),
        ({"state": "draining"}, "Stopping..."),
        ({"state": "stopping"}, "Stopping..."),
        ({"expires_at": 5.0}, "Stopping..."),
        ({"expires_at": 1_800_000_299.0}, "4 minutes from now"),
    ],
)
def test_ps_tells_how_long_a_model_stays(
    daemon: ScriptedDaemon,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    over: dict[str, object],
    until: str,
) -> None:
    monkeypatch.setattr("powerd.ctl.models.time.time", lambda: 1_800_000_000.0)
    daemon.script["GET /v1/ps"] = document([row(**over)])
    main(["ps"])
    assert f"4096       {until}    7 " in capsys.readouterr().out


def test_ps_shows_who_shares_a_runner_and_who_waits(daemon: ScriptedDaemon, capsys: Captured) -> None:
    shared = row(names=["demo:latest", "gpt-4o:latest"], queued=3)
    daemon.script["GET /v1/ps"] = document([shared, row(model="b", names=["b"])])
    main(["ps", "gpt"])
    header, line = capsys.readouterr().out.splitlines()
    assert header.endswith("ALSO SERVES")
    assert line.endswith("1 (3 waiting)    gpt-4o:latest")


def test_ps_json_is_the_daemons_array(daemon: ScriptedDaemon, capsys: Captured) -> None:
    rows = [row(later_field=1), row(model="b", names=["b"])]
    daemon.script["GET /v1/ps"] = document(rows)
    main(["ps", "--json"])
    assert json.loads(capsys.readouterr().out) == rows
    main(["ps", "--json", "b"])
    assert json.loads(capsys.readouterr().out) == rows[1:]


SHOWN = {
    "template": "{{ .Prompt }}\n",
    "system": "Be kind.",
    "details": {"family": "llama"},
    "capabilities": ["completion"],
}


def test_show_prints_blocks_one_text_or_json(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["POST /api/show"] = document(SHOWN)
    assert main(["show", "demo", "-v"]) == 0
    assert capsys.readouterr().out.startswith("  Model\n    architecture    llama\n")
    for flag, text in (("--template", "{{ .Prompt }}\n"), ("--system", "Be kind.\n"), ("--license", "\n")):
        assert main(["show", "demo", flag]) == 0
        assert capsys.readouterr().out == text
    assert main(["show", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == SHOWN
    assert daemon.asked[0] == ("POST /api/show", {"model": "demo", "verbose": True})


def test_an_unknown_model_is_the_daemons_text(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["POST /api/show"] = document({"error": "model 'nope:latest' not found"}, status=404)
    assert main(["show", "nope"]) == 1
    assert capsys.readouterr() == ("", "Error: model 'nope:latest' not found\n")


def test_load_and_stop_pass_their_flags_and_print_the_daemons_word(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["POST /v1/load"] = document({"message": "loaded 'demo'"})
    daemon.script["POST /v1/stop"] = document({"message": "stopped 'demo'"})
    assert main(["load", "demo", "--for", "2h"]) == 0
    assert main(["stop", "demo", "--for", "1m", "--force"]) == 0
    assert main(["stop", "demo"]) == 0
    assert capsys.readouterr().out == "loaded 'demo'\nstopped 'demo'\nstopped 'demo'\n"
    assert [body for _, body in daemon.asked] == [
        {"model": "demo", "hold": 7200.0},
        {"model": "demo", "hold": 60.0, "force": True},
        {"model": "demo", "hold": 0.0},
    ]


@pytest.mark.parametrize(
    ("status", "told"), [(404, 'couldn\'t find model "nope" to stop'), (409, "the model is declared as pinned")]
)
def test_stop_of_what_is_not_there_uses_ollamas_text(
    daemon: ScriptedDaemon, capsys: Captured, status: int, told: str
) -> None:
    daemon.script["POST /v1/stop"] = document({"error": "the model is declared as pinned", "code": "x"}, status=status)
    assert main(["stop", "nope"]) == 1
    assert capsys.readouterr().err == f"Error: {told}\n"


def test_rm_deletes_each_with_ollamas_text(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["DELETE /api/delete"] = Reply()
    assert main(["rm", "a", "b"]) == 0
    assert capsys.readouterr().out == "deleted 'a'\ndeleted 'b'\n"
    assert daemon.asked == [("DELETE /api/delete", {"model": "a"}), ("DELETE /api/delete", {"model": "b"})]


def test_rm_goes_on_after_a_model_it_cannot_delete(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["DELETE /api/delete"] = document({"error": "model 'x' not found"}, status=404)
    assert main(["rm", "x", "y"]) == 1
    assert capsys.readouterr() == ("", "Error: model 'x' not found\n" * 2)
    assert [body["model"] for _, body in daemon.asked] == ["x", "y"]


def test_cp_uses_ollamas_text(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["POST /api/copy"] = Reply()
    assert main(["cp", "a", "b"]) == 0
    assert capsys.readouterr().out == "copied 'a' to 'b'\n"
    assert daemon.asked == [("POST /api/copy", {"source": "a", "destination": "b"})]
