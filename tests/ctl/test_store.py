from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from powerd.ctl.main import main
from tests.ctl.scripted_daemon import ScriptedDaemon, document, ndjson

Captured = pytest.CaptureFixture[str]

USAGE: dict[str, Any] = {
    "root": "/var/lib/power/models",
    "models": [
        {"name": "small:latest", "size": 1_000_000, "alone": 10, "where": "/var/lib/power/models", "read_only": False},
        {"name": "big:latest", "size": 3_400_000_000, "alone": 0, "where": "/home/x/.ollama/models", "read_only": True},
    ],
    "blobs": 7,
    "bytes": 4_000_000_000,
    "shared": 999_990,
    "kept": 40_000_000,
    "unreferenced": 123_000_000,
    "leftovers": 0,
    "corrupt": 0,
    "free": 50_000_000_000,
    "quota": 60_000_000_000,
    "lower": ["/home/x/.ollama/models"],
}


def test_df_shows_models_by_size_and_where_the_rest_is(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["GET /v1/store/df"] = document(USAGE)
    assert main(["df"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "ALONE", "WHERE"]
    assert lines[1].split() == ["big:latest", "3.4", "GB", "-", "/home/x/.ollama/models"]
    assert lines[2].split() == ["small:latest", "1", "MB", "10", "B"]
    assert "4 GB in 7 blobs" in out
    assert "123 MB" in out
    assert "50 GB of a quota of 60 GB" in out
    assert main(["store", "df", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == USAGE


def test_gc_says_what_came_free(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["POST /v1/store/gc"] = document({"deleted": ["sha256:" + "a" * 64], "bytes": 5000, "blocked": []})
    assert main(["gc", "--grace", "1d", "--force"]) == 0
    assert capsys.readouterr().out == "deleted 1 blobs; 5 KB came free\n"
    assert daemon.asked == [("POST /v1/store/gc", {"grace": 86400.0, "force": True})]


def test_gc_exits_one_while_a_manifest_forbids_it(daemon: ScriptedDaemon, capsys: Captured) -> None:
    daemon.script["POST /v1/store/gc"] = document({"deleted": [], "bytes": 0, "blocked": ["/s/manifests/x"]})
    assert main(["gc"]) == 1
    assert "/s/manifests/x cannot be read" in capsys.readouterr().err


def report(*findings: dict[str, Any], sound: bool) -> dict[str, Any]:
    return {"sound": sound, "blobs": 3, "bytes": 3000, "manifests": 1, "findings": list(findings)}


CORRUPT: dict[str, Any] = {
    "kind": "corrupt",
    "subject": "sha256:" + "a" * 64,
    "message": "blob sha256:aaa is corrupt",
    "size": 10,
    "models": ["one:latest"],
    "moved_to": "/s/.powerd/corrupt/x",
    "harmless": False,
}


def test_fsck_exits_by_soundness_and_names_everything(daemon: ScriptedDaemon, capsys: Captured) -> None:
    steps = [{"completed": 1, "total": 3}, {"report": report(CORRUPT, sound=False)}]
    daemon.script["POST /v1/store/fsck"] = ndjson(*steps)
    assert main(["fsck", "--repair"]) == 1
    out = capsys.readouterr().out
    assert "corrupt: blob sha256:aaa is corrupt; needed by one:latest; moved to /s/.powerd/corrupt/x" in out
    assert out.endswith("3 blobs, 3 KB, 1 manifests: not sound\n")
    assert daemon.asked[0][1] == {"repair": True}
    daemon.script["POST /v1/store/fsck"] = ndjson({"report": report(sound=True)})
    assert main(["fsck", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report(sound=True)


@pytest.mark.parametrize(
    ("steps", "text"),
    [([{"completed": 1, "total": 2}], "ended the check early"), ([{"error": "the disk is on fire"}], "on fire")],
)
def test_fsck_that_does_not_come_to_its_end_fails(
    daemon: ScriptedDaemon, capsys: Captured, steps: list[dict[str, Any]], text: str
) -> None:
    daemon.script["POST /v1/store/fsck"] = ndjson(*steps)
    assert main(["fsck"]) == 1
    assert text in capsys.readouterr().err


def test_adopt_sends_an_absolute_path_and_lists_what_came_of_it(
    daemon: ScriptedDaemon, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    adopted = {"kind": "ollama", "how": "copy", "directory": "/x", "models": ["a:latest"], "skipped": ["b: why not"]}
    daemon.script["POST /v1/store/adopt"] = ndjson({"subject": "a", "completed": 1, "total": 2}, {"adopted": adopted})
    assert main(["adopt", "there", "--copy"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "a:latest\nadopted 1 models of /x\n"
    assert captured.err == "skipped b: why not\n"
    assert daemon.asked == [("POST /v1/store/adopt", {"path": str(tmp_path / "there"), "how": "copy"})]
    assert main(["adopt", "there", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == adopted


def test_adopt_forget(daemon: ScriptedDaemon, capsys: Captured) -> None:
    gone = {"kind": "", "how": "forget", "directory": "/x", "models": [], "skipped": []}
    daemon.script["POST /v1/store/adopt"] = ndjson({"adopted": gone})
    assert main(["adopt", "/x", "--forget"]) == 0
    assert capsys.readouterr().out == "/x is no longer served from\n"
