"""A second apply of the same file: no request goes out, nothing is loaded, nothing under state or store is written."""

from __future__ import annotations

import time
from pathlib import Path

from tests.gguf_maker import tiny
from tests.reconcile.webfile import serving
from tests.wire.powerd_process import Powerd

#: Runs in the daemon before anything else of it: notes every file opened to write, changed or removed below a
#: directory, and every connection that is begun.
SPY = """
import os, sys
_log = os.open(os.environ["SPY_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_under = os.environ["SPY_UNDER"]
_writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_changing = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
def _hook(event, args):
    if event == "open" and isinstance(args[2], int) and args[2] & _writing or event in _changing:
        path = os.fsdecode(args[0]) if isinstance(args[0], (str, bytes, os.PathLike)) else ""
        if path.startswith(_under):
            os.write(_log, f"{event} {path}\\n".encode())
    elif event == "socket.connect" and isinstance(args[1], tuple):
        os.write(_log, f"{event} {args[1]}\\n".encode())
sys.addaudithook(_hook)
"""


def test_the_second_apply_asks_loads_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy/sitecustomize.py").write_text(SPY)
    log = tmp_path / "spy.log"
    tiny(tmp_path / "a.gguf")
    tiny(tmp_path / "b.gguf", seed=2)
    spy = {"PYTHONPATH": str(tmp_path / "spy"), "SPY_LOG": str(log), "SPY_UNDER": str(tmp_path / "state")}
    with serving((tmp_path / "b.gguf").read_bytes()) as web:
        models = (
            f"models:\n  a: {{source: {tmp_path}/a.gguf, state: loaded, system: Hi.}}\n"
            f"  web: {{source: '{web.url}'}}\n  demo: {{source: 'builtin:demo', state: loaded}}\n"
        )
        with Powerd(tmp_path, models=models, **spy) as powerd:
            powerd.wait("Ready", "a")
            powerd.wait("Ready", "demo")
            powerd.wait("Reconciled")
            first = log.read_text()
            assert "/.powerd/ingest/" in first
            assert "socket.connect" in first
            pids, asked = {row["pid"] for row in powerd.ps()}, web.asked
            time.sleep(0.5)  # what the first apply left to be written has been
            before = log.read_text()
            reply = powerd.control("POST", "/v1/apply", {"wait": True})
            assert (reply["changed"], reply["settled"], reply["failing"]) == (False, True, [])
            powerd.declare(models)  # the same again: only the file is another
            time.sleep(1.5)
            assert powerd.powerctl("apply", "--wait").stdout.startswith("unchanged")
            assert powerd.control("GET", "/v1/plan")["changes"] is False
            assert powerd.control("GET", "/v1/diff")["changes"] is False
            assert log.read_text()[len(before) :] == ""
            assert ({row["pid"] for row in powerd.ps()}, web.asked) == (pids, asked)
            assert powerd.status()["generation"] == 1
