"""The verb render, against a scripted daemon."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from powerd.ctl.main import main
from tests.ctl.scripted_daemon import ScriptedDaemon, document

HI = [{"role": "user", "content": "hi"}]
TOLD = {
    "_debug_info": {
        "rendered_template": "<user>hi",
        "template": {"origin": "named", "syntax": "jinja", "name": "chatml"},
    }
}
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def told(daemon: ScriptedDaemon) -> ScriptedDaemon:
    daemon.script["POST /api/chat"] = document(TOLD)
    return daemon


def test_the_prompt_goes_out_alone_and_whose_template_it_is_beside_it(
    told: ScriptedDaemon, tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "messages.json"
    file.write_text(json.dumps(HI))
    assert main(["render", "demo", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "<user>hi"
    assert captured.err == "template: built in chatml (jinja)\n"
    assert told.asked == [("POST /api/chat", {"messages": HI, "model": "demo", "_debug_render_only": True})]
    assert main(["render", "demo", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == TOLD


def test_a_whole_request_from_standard_input(told: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"messages": HI, "think": False, "model": "other"}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(body).encode())))
    assert main(["render", "demo", "-"]) == 0
    assert told.asked[0][1] == {"messages": HI, "think": False, "model": "demo", "_debug_render_only": True}


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "is not JSON"), ('{"a": 1}', "give a list of messages"), ("5", "give a list of messages")],
)
def test_a_file_that_holds_no_messages_is_refused(
    told: ScriptedDaemon, tmp_path: Path, capsys: Captured, text: str, problem: str
) -> None:
    file = tmp_path / "messages.json"
    file.write_text(text)
    assert main(["render", "demo", str(file)]) == 1
    assert problem in capsys.readouterr().err
    assert not told.asked


def test_a_file_that_is_not_there_is_named(told: ScriptedDaemon, tmp_path: Path, capsys: Captured) -> None:
    assert main(["render", "demo", str(tmp_path / "gone.json")]) == 1
    assert "gone.json cannot be read: No such file or directory" in capsys.readouterr().err
