from __future__ import annotations

import io
import json
import sys

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
STEPS = [
    {"status": "pulling manifest"},
    {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5", "total": 2000},
    {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5", "total": 2000, "completed": 2000},
    {"status": "success"},
]


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """What is piped into powerctl."""
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    return data


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


def test_run_prints_the_answer_and_ends_with_two_newlines(
    daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO
) -> None:
    daemon.script["POST /api/generate"] = ndjson({"response": "Hel"}, {"response": "lo"}, {"response": "", **DONE})
    assert main(["run", "demo", "say", "hello"]) == 0
    assert capsys.readouterr() == ("Hello\n\n", "")
    assert daemon.asked == [("POST /api/generate", {"model": "demo", "prompt": "say hello", "options": {}})]


def test_run_passes_its_flags(daemon: ScriptedDaemon, piped: io.BytesIO) -> None:
    daemon.script["POST /api/generate"] = ndjson(DONE)
    flags = ["--system", "Be kind.", "--keepalive", "-1m", "-o", "temperature=0", "-o", 'stop=["END"]']
    assert main(["run", "demo", "hi", *flags]) == 0
    assert daemon.asked[0][1] == {
        "model": "demo",
        "prompt": "hi",
        "system": "Be kind.",
        "keep_alive": "-1m",
        "options": {"temperature": 0, "stop": ["END"]},
    }


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
    assert daemon.asked[0][1]["prompt"] == prompt


def test_run_without_a_prompt_is_wrong_usage(daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO) -> None:
    assert main(["run", "demo"]) == 64
    assert "there is no prompt" in capsys.readouterr().err
    assert daemon.asked == []


def test_run_refuses_input_that_is_no_text(daemon: ScriptedDaemon, capsys: Captured, piped: io.BytesIO) -> None:
    piped.write(b"ab\xff\xfe")
    piped.seek(0)
    assert main(["run", "demo", "what is this?"]) == 1
    assert capsys.readouterr().err == "Error: standard input is not UTF-8 text (byte 2); convert it first\n"
    assert daemon.asked == []


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
