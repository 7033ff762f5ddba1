"""Conversations, typed at a real terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ctl.person import Person
from tests.ctl.scripted_daemon import ROOT, ScriptedDaemon, command, document, environment, ndjson

SHOWN = {"capabilities": ["completion"], "parameters": 'stop    "<end>"', "system": "", "template": "{{ .Prompt }}"}
LOADED = {"done": True, "done_reason": "load"}


def says(*pieces: str, **extra: Any) -> Any:
    chunks = [{"message": {"role": "assistant", "content": piece}} for piece in pieces]
    return ndjson(*chunks, {"message": {"content": ""}, "done": True, "eval_count": 3, "eval_duration": 10**9}, **extra)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def person(daemon: ScriptedDaemon, home: Path) -> Iterator[Person]:
    """Somebody in a conversation that has just begun."""
    daemon.script["POST /api/show"] = document(SHOWN)
    daemon.script["POST /api/generate"] = ndjson(LOADED)
    daemon.script["POST /api/chat"] = says("Hello.")
    with started(daemon, home) as one:
        yield one


def started(daemon: ScriptedDaemon, home: Path, *flags: str, **extra: str) -> Person:
    line = command("--socket", str(daemon.path), "run", "demo", *flags)
    return Person(line, environment(HOME=str(home), **extra), ROOT)


def chats(daemon: ScriptedDaemon) -> list[Any]:
    return [body for key, body in daemon.asked if key == "POST /api/chat"]


def test_what_was_said_goes_with_the_next_message(person: Person, daemon: ScriptedDaemon) -> None:
    person.sees(">>> ")
    person.type("hi\r")
    assert "Hello.\n\n" in person.sees(">>> ").replace("\r", "")
    person.type("and?\r")
    person.sees(">>> ")
    person.type("/bye\r")
    assert person.leaves() == 0
    assert [[message["content"] for message in body["messages"]] for body in chats(daemon)] == [
        ["hi"],
        ["hi", "Hello.", "and?"],
    ]


def test_ctrl_d_leaves(person: Person) -> None:
    person.sees(">>> ")
    person.type("\x04")
    assert person.leaves() == 0


def test_ctrl_c_ends_the_answer_and_not_the_conversation(person: Person, daemon: ScriptedDaemon) -> None:
    chunk = {"message": {"content": "endless "}}
    daemon.script["POST /api/chat"] = ndjson(chunk, ending="hold")
    person.sees(">>> ")
    person.type("hi\r")
    person.sees("endless ")
    person.interrupts(">>> ")
    assert daemon.went_away.wait(5), "the daemon must see that nobody listens"
    daemon.script["POST /api/chat"] = says("Again.")
    person.type("go on\r")
    person.sees("Again.")
    person.sees(">>> ")
    person.interrupts("Use Ctrl + d or /bye to exit.")
    person.sees(">>> ")
    person.type("half a line")
    person.sees("half a line")
    person.interrupts(">>> ")
    person.type("\x04")
    assert person.leaves() == 0
    assert [message["content"] for message in chats(daemon)[1]["messages"]] == ["hi", "endless ", "go on"]


def test_messages_of_several_lines(person: Person, daemon: ScriptedDaemon) -> None:
    person.sees(">>> ")
    for line in ('"""one', "  two", 'three"""'):
        person.type(f"{line}\r")
    person.sees("Hello.")
    person.sees(">>> ")
    person.type("four\nfive\r")  # Ctrl-J
    person.sees("Hello.")
    person.sees(">>> ")
    person.type("\x1b[200~six\nseven\x1b[201~\r")  # pasted
    person.sees("Hello.")
    assert [body["messages"][-1]["content"] for body in chats(daemon)] == [
        "one\n  two\nthree",
        "four\nfive",
        "six\nseven",
    ]


def test_settings_change_the_next_request(person: Person, daemon: ScriptedDaemon) -> None:
    for line, answer in (
        ("/set parameter temperature 0.5", "Set parameter 'temperature' to '0.5'"),
        ("/set parameter stop a b", "Set parameter 'stop' to 'a, b'"),
        ("/set parameter top_k x", "Couldn't set parameter: top_k: invalid int value [x]"),
        ("/set parameter nope 1", "Couldn't set parameter: unknown parameter 'nope'"),
        ("/set system Be kind.", "Set system message."),
        ("/set format json", "Set format to 'json' mode."),
        ("/set think high", "Set 'think' mode to 'high'."),
        ("/set verbose", "Set 'verbose' mode."),
        ("/set nope", "Unknown command '/set nope'. Type /? for help"),
        ("/nope", "Unknown command '/nope'. Type /? for help"),
        ("/? set", "/set parameter ..."),
        ("/show parameters", "temperature                    0.5"),
        ("/show license", "No license was specified for this model."),
        ("/show system", "Be kind."),
        ("/help", "Available Commands:"),
    ):
        person.sees(">>> ")
        person.type(f"{line}\r")
        person.sees(answer)
    person.sees(">>> ")
    person.type("hi\r")
    person.sees("eval rate:            3.00 tokens/s")
    assert chats(daemon) == [
        {
            "model": "demo",
            "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
            "options": {"temperature": 0.5, "stop": ["a", "b"]},
            "format": "json",
            "think": "high",
        }
    ]


def test_save_makes_a_model_of_the_conversation(person: Person, daemon: ScriptedDaemon) -> None:
    daemon.script["POST /api/create"] = ndjson({"status": "writing manifest"}, {"status": "success"})
    for line, answer in (("/set system S", "Set"), ("/set parameter seed 1", "Set"), ("hi", "Hello.")):
        person.sees(">>> ")
        person.type(f"{line}\r")
        person.sees(answer)
    person.sees(">>> ")
    person.type("/save mine\r")
    person.sees("Created new model 'mine'")
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello."}]
    wanted = {"model": "mine", "from": "demo", "system": "S", "parameters": {"seed": 1}, "messages": said}
    assert daemon.asked[-1] == ("POST /api/create", wanted)


def test_load_changes_the_model_and_forgets(person: Person, daemon: ScriptedDaemon) -> None:
    person.sees(">>> ")
    person.type("hi\r")
    person.sees(">>> ")
    person.type("/load other\r")
    person.sees("Loading model 'other'")
    person.sees(">>> ")
    person.type("you?\r")
    person.sees("Hello.")
    assert chats(daemon)[-1]["model"] == "other"
    assert [message["content"] for message in chats(daemon)[-1]["messages"]] == ["you?"]
    daemon.script["POST /api/show"] = document({"error": "no"}, status=404)
    person.sees(">>> ")
    person.type("/load nope\r")
    person.sees("Couldn't find model 'nope'")


def test_an_error_is_told_and_the_conversation_goes_on(person: Person, daemon: ScriptedDaemon) -> None:
    daemon.script["POST /api/chat"] = document({"error": "model is busy"}, status=503)
    person.sees(">>> ")
    person.type("lost\r")
    person.sees("Error: model is busy")
    daemon.script["POST /api/chat"] = says("Here.")
    person.sees(">>> ")
    person.type("hi\r")
    person.sees("Here.")
    assert [message["content"] for message in chats(daemon)[-1]["messages"]] == ["hi"]
    person.sees(">>> ")
    person.type("/clear\r")
    person.sees("Cleared session context")
    person.sees(">>> ")
    person.type("new\r")
    person.sees("Here.")
    assert [message["content"] for message in chats(daemon)[-1]["messages"]] == ["new"]


def test_what_was_typed_is_there_in_the_next_conversation(person: Person, daemon: ScriptedDaemon, home: Path) -> None:
    person.sees(">>> ")
    person.type("first question\r")
    person.sees(">>> ")
    person.type("/set nohistory\r")
    person.sees(">>> ")
    person.type("a secret\r")
    person.sees(">>> ")
    person.type("\x04")
    assert person.leaves() == 0
    kept = home / ".local/state/power/history"
    assert kept.read_text().splitlines() == ["first question", "/set nohistory"]
    assert kept.stat().st_mode & 0o077 == 0
    with started(daemon, home) as again:
        again.sees(">>> ")
        again.type("\x10\x10\r")  # Ctrl-P twice
        again.sees("Hello.")
    assert chats(daemon)[-1]["messages"][-1]["content"] == "first question"


def test_ctrl_g_opens_an_editor(daemon: ScriptedDaemon, home: Path, tmp_path: Path) -> None:
    daemon.script["POST /api/show"] = document(SHOWN)
    daemon.script["POST /api/generate"] = ndjson(LOADED)
    daemon.script["POST /api/chat"] = says("Hello.")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf " and more" >> "$1"\n')
    editor.chmod(0o755)
    with started(daemon, home, OLLAMA_EDITOR=str(editor)) as person:
        person.sees(">>> ")
        person.type("some\x07")
        person.sees("some and more")
        person.type("!\r")
        person.sees("Hello.")
    assert chats(daemon)[0]["messages"][0]["content"] == "some and more!"


def test_words_stay_whole_at_the_edge_of_the_terminal(person: Person, daemon: ScriptedDaemon) -> None:
    daemon.script["POST /api/chat"] = says(*["longish "] * 20)
    person.sees(">>> ")
    person.type("hi\r")
    lines = person.sees(">>> ").splitlines()[1:4]
    assert [len(line.rstrip()) <= 75 for line in lines] == [True] * 3
    assert lines[1].startswith("longish")


def test_flags_hold_for_the_whole_conversation(daemon: ScriptedDaemon, home: Path) -> None:
    daemon.script["POST /api/show"] = document({**SHOWN, "messages": [{"role": "user", "content": "Earlier"}]})
    daemon.script["POST /api/generate"] = ndjson(LOADED)
    daemon.script["POST /api/chat"] = says("Hello.")
    with started(daemon, home, "--system", "S", "--keepalive", "5m", "-o", "seed=1") as person:
        person.sees(">>> Earlier")
        person.sees(">>> ")
        person.type("hi\r")
        person.sees("Hello.")
    body = chats(daemon)[0]
    assert (body["keep_alive"], body["options"]) == ("5m", {"seed": 1})
    assert body["messages"][0] == {"role": "system", "content": "S"}
