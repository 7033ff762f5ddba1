"""Going back over the wire: an old generation's answers with its sources gone, held over a restart; plans without a
daemon."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.gguf_maker import tiny
from tests.wire.powerd_process import Powerd

ASK = {"model": "m", "prompt": "Once", "stream": False, "options": {"temperature": 0, "num_predict": 12}}


def answer(powerd: Powerd) -> str:
    return str(powerd.post("/api/generate", ASK).json()["response"])


def test_rollback_restores_the_old_answers_with_the_sources_gone(tmp_path: Path) -> None:
    one, two = tiny(tmp_path / "one.gguf", seed=1), tiny(tmp_path / "two.gguf", seed=2)
    with Powerd(tmp_path, models=f"models:\n  m: {{source: {one}, context: 512}}\n") as powerd:
        powerd.wait("Fits", "m")
        first = answer(powerd)
        powerd.declare(f"models:\n  m: {{source: {two}, context: 512}}\n")
        assert powerd.control("GET", "/v1/plan")["changes"]
        assert powerd.powerctl("apply", "--wait").returncode == 0
        assert not powerd.control("GET", "/v1/plan")["changes"]
        assert answer(powerd) != first
        one.unlink()
        two.unlink()
        done = powerd.powerctl("rollback", "--wait")
        assert done.returncode == 0, done.stderr
        assert "generation 3 (a rollback to 1) is held until" in done.stdout
        assert answer(powerd) == first
        powerd.signal(signal.SIGTERM)
        assert powerd.wait_exit() == 0
        powerd.start()
        powerd.wait("Fits", "m")
        assert answer(powerd) == first
        assert "is held until" in powerd.powerctl("apply").stdout
        rows = powerd.control("GET", "/v1/history")
        assert [(row["number"], row["reason"]) for row in rows] == [
            (3, "rollback to 1"),
            (2, "models.yaml"),
            (1, "models.yaml"),
        ]
        assert [row.get("held", False) for row in rows] == [True, False, False]
        refused = powerd.powerctl("rollback", "--to", "9")
        assert (refused.returncode, "kept are: 1, 2, 3" in refused.stderr) == (1, True)


def test_plan_and_diff_without_a_daemon_say_what_it_would_do(tmp_path: Path) -> None:
    one = tiny(tmp_path / "one.gguf", seed=1)
    places = {"POWER_STATE": str(tmp_path / "state"), "POWER_MODELS": str(tmp_path / "models.yaml")}
    places["POWER_CONFIG"] = str(tmp_path / "powerd.yaml")
    models = f"models:\n  m: {{source: {one}, state: loaded, context: 512}}\n"
    with Powerd(tmp_path, models=models, **places) as powerd:
        powerd.wait("Ready", "m")
        told = powerd.control("GET", "/v1/plan")
        powerd.signal(signal.SIGTERM)
        powerd.wait_exit()
        idle = powerd.powerctl("plan", "--json")
        assert (idle.returncode, "powerd is not running" in idle.stderr) == (0, True), idle
        alone = json.loads(idle.stdout)
        assert alone.keys() == told.keys()
        assert (alone["models"][0]["action"], alone["generation"]) == ("none", 1)
        powerd.declare(models.replace("512", "1024") + "  demo: {source: 'builtin:demo'}\n")
        changed = powerd.powerctl("plan")
        assert (changed.returncode, "context 512 -> 1024" in changed.stdout, "+ demo" in changed.stdout) == (
            2,
            True,
            True,
        )
        different = powerd.powerctl("diff")
        assert (different.returncode, "pending" in different.stdout) == (2, True)
        assert powerd.powerctl("history").returncode == 69
