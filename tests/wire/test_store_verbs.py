"""df, gc, fsck and adopt against a running daemon, and `powerd --fsck` without one."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from powerd.digest import Digest
from tests.store.shelves import add_model, weights
from tests.wire.powerd_process import Powerd


def offline(powerd: Powerd, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(powerd.command("--fsck", *flags), capture_output=True, text=True, timeout=60, check=False)


def test_s06_the_store_is_checked_mended_and_adopted_into(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    theirs = tmp_path / "theirs"
    add_model(theirs, "registry.ollama.ai/library/demo/latest", texts=[("system", b"be kind")])
    powerd = Powerd(tmp_path / "p")
    with powerd:
        adopted = powerd.powerctl("adopt", str(theirs), "--copy")
        assert (adopted.returncode, adopted.stdout.splitlines()[0]) == (0, "demo:latest"), adopted.stderr
        assert [model["name"] for model in powerd.get("/api/tags").json()["models"]] == ["demo:latest"]
        usage = powerd.control("GET", "/v1/store/df")
        assert usage["blobs"] == 3
        blob = Path(usage["root"]) / "blobs" / Digest.of(weights()).blob_name
        blob.chmod(0o600)
        blob.write_bytes(bytes(blob.stat().st_size))
        checked = powerd.powerctl("store", "fsck")
        assert checked.returncode == 1
        assert f"corrupt: blob {Digest.of(weights())} is corrupt" in checked.stdout
        assert "needed by demo:latest" in checked.stdout
        held = offline(powerd)
        assert held.returncode == 78
        assert "already in use by process" in held.stderr
        assert powerd.control("POST", "/v1/store/gc", {})["deleted"] == []
        powerd.signal(signal.SIGTERM)
        assert powerd.wait_exit() == 0
    mended = offline(powerd, "--repair", "--json")
    assert mended.returncode == 1
    (finding,) = json.loads(mended.stdout)["findings"]
    assert finding["models"] == ["demo:latest"]
    assert Path(finding["moved_to"]).is_file()
    assert "missing blob: blob sha256:" in offline(powerd).stdout
