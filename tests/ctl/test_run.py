from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from powerd.ctl.main import main
from tests.ctl.scripted_daemon import ScriptedDaemon, document, ndjson

Captured = pytest.CaptureFixture[str]

DONE = {
    "done": True,
    "total_duration": 4_648_158_584,
    "load_duration": 4_071_084,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 130_079_000,
    "eval_count": 259,
    "eval_duration": 4_232_710_000,
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """What is piped into powerctl."""
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    return data


@pytest.fixture(autouse=True)
def demo(daemon: ScriptedDaemon) -> None:
    """The daemon knows the model."""
    daemon.script["POST /api/show"] = document({"capabilities": ["completion", "thinking"]})


def asked(daemon: ScriptedDaemon, path: str = "POST /api/generate") -> list[Any]:
    return [body for key, body in daemon.asked if key == path]


def test_run_prints_the_answer_and_ends_with_two_newlines(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO
) -> None:
    daemon.script["POST /api/generate"] = ndjson({"response": "Hel"}, {"response": "lo"}, {"response": "", **DONE})
    assert main(["run", "demo", "say", "hello"]) == 0
    assert capsys.readouterr() == ("Hello\n\n", "")
    assert asked(daemon) == [{"model": "demo", "prompt": "say hello", "options": {}}]


def test_run_passes_its_flags(daemon: ScriptedDaemon, piped: io.BytesIO) -> None:
    daemon.script["POST /api/generate"] = ndjson(DONE)
    flags = ["--system", "Be kind.", "--keepalive", "-1m", "-o", "temperature=0", "-o", 'stop=["END"]']
    flags += ["--template", "{{ .Prompt }}", "--format", json.dumps(SCHEMA), "--think=high", "--truncate=false"]
    assert main(["run", "demo", "hi", *flags]) == 0
    assert asked(daemon)[0] == {
        "model": "demo",
        "prompt": "hi",
        "system": "Be kind.",
        "template": "{{ .Prompt }}",
        "format": SCHEMA,
        "think": "high",
        "truncate": False,
        "keep_alive": "-1m",
        "options": {"temperature": 0, "stop": ["END"]},
    }


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--think", True), ("--think=true", True), ("--think=false", False), ("--think=max", "max")],
)
def test_think_alone_takes_no_word_of_the_prompt(
    daemon: ScriptedDaemon, piped: io.BytesIO, flag: str, value: object
) -> None:
    daemon.script["POST /api/generate"] = ndjson(DONE)
    assert main(["run", "demo", flag, "hello"]) == 0
    assert (asked(daemon)[0]["think"], asked(daemon)[0]["prompt"]) == (value, "hello")


def test_a_level_of_thinking_that_is_none_is_named(daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO) -> None:
    assert main(["run", "demo", "--think=much", "hi"]) == 1
    assert capsys.readouterr().err == (
        'Error: invalid value for --think: "much" (must be true, false, high, medium, low, or max)\n'
    )


def test_thinking_asked_of_a_model_that_does_not_is_said_beforehand(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO
) -> None:
    daemon.script["POST /api/show"] = document({"capabilities": ["completion"]})
    daemon.script["POST /api/generate"] = document({"error": '"demo" does not support thinking'}, status=400)
    assert main(["run", "demo", "--think", "hi"]) == 1
    assert capsys.readouterr().err == (
        'warning: model "demo" does not support thinking output\nError: "demo" does not support thinking\n'
    )


@pytest.mark.parametrize("text", ["yaml", "[]", "{"])
def test_a_format_that_is_none_is_refused_here(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO, text: str
) -> None:
    assert main(["run", "demo", "hi", "--format", text]) == 1
    assert "neither json nor a JSON schema" in capsys.readouterr().err
    assert daemon.asked == []


def test_prompt_as_a_flag_stands_before_the_words(daemon: ScriptedDaemon, piped: io.BytesIO) -> None:
    daemon.script["POST /api/generate"] = ndjson(DONE)
    main(["run", "demo", "--prompt", "Say", "hello"])
    main(["run", "demo", "--prompt", ""])
    assert [each["prompt"] for each in asked(daemon)] == ["Say hello", ""]


def test_a_model_that_is_not_here_is_pulled_first(daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO) -> None:
    daemon.script["POST /api/show"] = document({"error": "model 'nope:latest' not found"}, status=404)
    daemon.script["POST /api/pull"] = ndjson({"status": "pulling manifest"}, {"error": "no such model"})
    assert main(["run", "nope", "hi", "--insecure"]) == 1
    assert capsys.readouterr() == ("", "pulling manifest\nError: no such model\n")
    assert asked(daemon, "POST /api/pull") == [{"model": "nope", "insecure": True}]


def test_an_embedding_model_prints_its_vector(daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO) -> None:
    daemon.script["POST /api/show"] = document({"capabilities": ["embedding"]})
    daemon.script["POST /api/embed"] = document({"embeddings": [[0.25, -0.5]]})
    assert main(["run", "demo", "--dimensions", "2", "--truncate", "some", "text"]) == 0
    assert json.loads(capsys.readouterr().out) == [0.25, -0.5]
    wanted = {"model": "demo", "input": "some text", "options": {}, "truncate": True, "dimensions": 2}
    assert asked(daemon, "POST /api/embed") == [wanted]


def test_an_embedding_model_needs_text(daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO) -> None:
    daemon.script["POST /api/show"] = document({"capabilities": ["embedding"]})
    assert main(["run", "demo", ""]) == 1
    assert "embedding models require input text" in capsys.readouterr().err


PNG = b"\x89PNG and more"


def test_a_picture_goes_with_the_prompt_where_the_model_can_see(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO, tmp_path: Path
) -> None:
    daemon.script["POST /api/show"] = document({"capabilities": ["completion", "vision"]})
    daemon.script["POST /api/generate"] = ndjson(DONE)
    (tmp_path / "a cat.png").write_bytes(PNG)
    escaped = str(tmp_path / "a cat.png").replace(" ", "\\ ")
    assert main(["run", "demo", "What is this?", escaped, "/no/such.png"]) == 0
    sent = asked(daemon)[0]
    assert (sent["prompt"], sent["images"]) == ("What is this?  /no/such.png", ["iVBORyBhbmQgbW9yZQ=="])
    assert capsys.readouterr().err == f"Added image '{tmp_path / 'a cat.png'}'\n"


def test_a_picture_for_a_model_that_cannot_see_is_refused_before_it_is_asked(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO, tmp_path: Path
) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    assert main(["run", "demo", f"What is '{tmp_path}/cat.png'?"]) == 1
    assert capsys.readouterr().err.startswith('Error: "demo" cannot see images')
    assert asked(daemon) == []


def test_a_file_that_is_no_picture_is_refused(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO, tmp_path: Path
) -> None:
    daemon.script["POST /api/show"] = document({"capabilities": ["completion", "vision"]})
    (tmp_path / "cat.png").write_bytes(b"text")
    assert main(["run", "demo", f"{tmp_path}/cat.png"]) == 1
    assert capsys.readouterr().err.startswith("Error: invalid file type: ")
    assert asked(daemon) == []


@pytest.mark.parametrize(
    ("stdin", "words", "prompt"),
    [
        ("notes\n", ["Summarise"], "notes\n Summarise"),
        ("grüße", [], "grüße"),
        ("", [""], ""),
    ],
)
def test_run_puts_what_is_piped_in_before_the_words(
    daemon: ScriptedDaemon, piped: io.BytesIO, stdin: str, words: list[str], prompt: str
) -> None:
    piped.write(stdin.encode())
    piped.seek(0)
    daemon.script["POST /api/generate"] = ndjson(DONE)
    assert main(["run", "demo", *words]) == 0
    assert asked(daemon)[0]["prompt"] == prompt


def test_run_without_a_prompt_is_wrong_usage(daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO) -> None:
    assert main(["run", "demo"]) == 64
    assert "there is no prompt" in capsys.readouterr().err
    assert daemon.asked == []


def test_what_the_model_thinks_can_be_hidden(daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO) -> None:
    daemon.script["POST /api/generate"] = ndjson({"thinking": "hm"}, {"response": "Yes."}, DONE)
    main(["run", "demo", "?", "--hidethinking"])
    assert capsys.readouterr().out == "Yes.\n\n"


def test_run_refuses_input_that_is_no_text(daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO) -> None:
    piped.write(b"ab\xff\xfe")
    piped.seek(0)
    assert main(["run", "demo", "what is this?"]) == 1
    assert capsys.readouterr().err == "Error: standard input is not UTF-8 text (byte 2); convert it first\n"
    assert asked(daemon) == []


def test_run_marks_what_the_model_thinks(daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO) -> None:
    daemon.script["POST /api/generate"] = ndjson({"thinking": "h"}, {"thinking": "m"}, {"response": "Yes."}, DONE)
    main(["run", "demo", "?"])
    assert capsys.readouterr().out == "Thinking...\nhm\n...done thinking.\n\nYes.\n\n"


def test_run_that_fails_half_way_keeps_the_text_and_reports_the_error(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO
) -> None:
    daemon.script["POST /api/generate"] = ndjson({"response": "Hel"}, {"error": "runner: it died"})
    assert main(["run", "demo", "hi"]) == 1
    assert capsys.readouterr() == ("Hel\n", "Error: runner: it died\n")


@pytest.mark.parametrize("ending", ["complete", "cut"])
def test_run_without_a_final_chunk_is_not_complete(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO, ending: str
) -> None:
    daemon.script["POST /api/generate"] = ndjson({"response": "Hel\n"}, ending=ending)
    assert main(["run", "demo", "hi"]) == 1
    seen = capsys.readouterr()
    assert seen.out == "Hel\n"
    assert "complete" in seen.err


def test_run_of_an_unknown_model_is_the_daemons_text(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO
) -> None:
    daemon.script["POST /api/generate"] = document({"error": "model 'nope' not found"}, status=404)
    assert main(["run", "nope", "hi"]) == 1
    assert capsys.readouterr() == ("", "Error: model 'nope' not found\n")


def test_verbose_prints_ollamas_statistics_on_standard_error(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO
) -> None:
    daemon.script["POST /api/generate"] = ndjson({"response": "Hi"}, DONE)
    main(["run", "demo", "hi", "--verbose"])
    assert capsys.readouterr().err.splitlines() == [
        "total duration:       4.648158584s",
        "load duration:        4.071084ms",
        "prompt eval count:    26 token(s)",
        "prompt eval duration: 130.079ms",
        "prompt eval rate:     199.88 tokens/s",
        "eval count:           259 token(s)",
        "eval duration:        4.23271s",
        "eval rate:            61.19 tokens/s",
    ]


def test_statistics_that_are_not_there_are_left_out(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO
) -> None:
    daemon.script["POST /api/generate"] = ndjson({"done": True, "total_duration": 5})
    main(["run", "demo", "hi", "--verbose"])
    assert capsys.readouterr().err == "total duration:       5ns\n"
