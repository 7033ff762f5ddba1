"""powerctl as people run it: a process, its exit code, its signals and its terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from powerd import __version__
from tests.ctl.scripted_daemon import ROOT, Reply, ScriptedDaemon, command, document, environment, ndjson, powerctl
from tests.ctl.test_state import STATUS

FORBIDDEN = {
    "pydantic",
    "litestar",
    "granian",
    "yaml",
    "httpx",
    "rich",
    "click",
    "jinja2",
    "structlog",
    "subprocess",
    "asyncio",
}


def test_exit_codes_of_a_real_process(daemon: ScriptedDaemon) -> None:
    daemon.script["GET /v1/status"] = document(STATUS)
    socket = str(daemon.path)
    assert powerctl("--socket", socket, "status")[0] == 0
    daemon.script["GET /v1/status"] = document(STATUS | {"as_declared": False})
    assert powerctl("status", POWER_SOCKET=socket)[0] == 1
    assert powerctl("status", "--nope")[0] == 64
    code, out, err = powerctl("status", "--socket", socket + ".none")
    assert (code, out) == (69, "")
    assert err.startswith(f"Error: powerd is not reachable:\n  {socket}.none: there is no socket\n")


def test_the_version_needs_no_daemon() -> None:
    assert powerctl("--version") == (0, f"powerctl {__version__}\n", "")


def test_piped_input_reaches_the_model(daemon: ScriptedDaemon) -> None:
    daemon.script["POST /api/show"] = document({"capabilities": ["completion"]})
    daemon.script["POST /api/generate"] = ndjson({"response": "Ja."}, {"done": True})
    answer = powerctl("run", "demo", "?", "--socket", str(daemon.path), stdin="grüße".encode())
    assert answer == (0, "Ja.\n\n", "")
    assert daemon.asked[1][1]["prompt"] == "grüße ?"


def test_ctrl_c_cancels_and_exits_130_without_a_traceback(daemon: ScriptedDaemon) -> None:
    daemon.script["POST /api/show"] = document({"capabilities": ["completion"]})
    daemon.script["POST /api/generate"] = ndjson({"response": "endless "}, ending="hold")
    process = subprocess.Popen(
        command("--socket", str(daemon.path), "run", "demo", "hi"),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.read(8) == b"endless ", "text must not wait for the end"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert daemon.went_away.wait(5), "the daemon must see the client go"


def test_a_reader_that_goes_away_is_no_error(daemon: ScriptedDaemon) -> None:
    daemon.script["GET /api/tags"] = document({"models": [{"name": f"model-{at}"} for at in range(20_000)]})
    read, write = os.pipe()
    process = subprocess.Popen(
        command("--socket", str(daemon.path), "list"), cwd=ROOT, env=environment(), stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    with process, os.fdopen(read, "rb") as reader:
        assert reader.readline().startswith(b"NAME")
        reader.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(10) == 141


def test_a_disk_that_is_full_is_reported(daemon: ScriptedDaemon) -> None:
    daemon.script["GET /v1/status"] = document(STATUS)
    with Path("/dev/full").open("wb") as full:
        finished = subprocess.run(
            command("--socket", str(daemon.path), "status"),
            check=False,
            cwd=ROOT,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert finished.returncode == 1
    assert finished.stderr == b"Error: the output: No space left on device\n"


def on_a_terminal(*arguments: str, **extra: str) -> tuple[int, str]:
    """Run powerctl with a terminal of 80 columns as its standard input and output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, env=environment(COLUMNS="80", **extra), stdin=theirs, stdout=theirs
    )
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
    except OSError:  # Linux reports the far end's closing as EIO
        pass
    os.close(ours)
    return process.wait(10), seen.decode()


def test_a_terminal_gets_bars_that_end_full(daemon: ScriptedDaemon) -> None:
    steps = [{"status": "pulling aa", "digest": "sha256:aa", "total": 100, "completed": at} for at in range(0, 101, 10)]
    daemon.script["POST /api/pull"] = ndjson({"status": "pulling manifest"}, *steps, {"status": "success"})
    code, seen = on_a_terminal("--socket", str(daemon.path), "pull", "demo")
    assert code == 0
    last = seen.replace("\r", "").split("\x1b[K")[-2:]
    assert last[0].startswith("pulling aa: 100% ▕█████")
    assert last[1] == "success\n"


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_refused(
    daemon: ScriptedDaemon, environ: dict[str, str], coloured: bool
) -> None:
    daemon.script["GET /v1/status"] = document(STATUS)
    code, seen = on_a_terminal("--socket", str(daemon.path), "status", **environ)
    assert code == 0
    assert ("\x1b[32mas declared\x1b[0m" in seen) is coloured


def test_status_imports_nothing_it_does_not_need(daemon: ScriptedDaemon) -> None:
    daemon.script["GET /v1/status"] = Reply(body=b"{}")
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "powerd.ctl", "--socket", str(daemon.path), "status"],
        check=False,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    lines = [line for line in finished.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rsplit("|", 1)[1].strip() for line in lines}
    assert "powerd.ctl.report" in imported
    assert not {name.partition(".")[0] for name in imported} & FORBIDDEN
    of_powerd = {name for name in imported if name.startswith("powerd.") and not name.startswith("powerd.ctl")}
    assert of_powerd == {"powerd.control", "powerd.control.schema", "powerd.hosts"}


def test_a_silent_daemon_does_not_hold_the_prompt_back_for_ever(daemon: ScriptedDaemon) -> None:
    daemon.script["GET /v1/status"] = Reply(ending="silent")
    began = time.monotonic()
    code, _, err = powerctl("--socket", str(daemon.path), "status")
    assert code == 69
    assert "closed the connection without an answer" in err
    assert time.monotonic() - began < 10
