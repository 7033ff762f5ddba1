"""powerctl init: a models.yaml of what is installed, taken over without asking anybody anything."""

from __future__ import annotations

from pathlib import Path

from powerd.names import Name
from powerd.store.gguf import read_header
from powerd.store.manifest import MODEL_TYPE, SYSTEM_TYPE, Layer, describe
from powerd.store.store import Store
from tests.gguf_maker import tiny
from tests.wire.powerd_process import Powerd


def installed(root: Path, weights: Path, *names: str) -> None:
    store = Store(root)
    store.open()
    system, size = store.put(b"Be brief.")
    layers = [Layer(MODEL_TYPE, store.take(weights), weights.stat().st_size), Layer(SYSTEM_TYPE, system, size)]
    for name in names:
        store.publish(Name.parse(name), layers, describe(read_header(weights)))
    store.close()


def test_what_is_installed_is_declared_and_taken_over_offline(tmp_path: Path) -> None:
    weights = tiny(tmp_path / "r.gguf")
    installed(tmp_path / ".ollama/models", weights, "mine", "team/mine", "small:1b")
    installed(tmp_path / "state/models", weights, "hf.co/unsloth/Tiny-GGUF:Q8_0")
    hub = tmp_path / ".cache/huggingface/hub/models--org--tiny/snapshots/abc"
    hub.mkdir(parents=True)
    tiny(hub / "Tiny.F16.gguf", seed=2)
    (hub / "broken.gguf").write_bytes(b"GGUF")
    with Powerd(tmp_path, config="offline: true\n") as powerd:
        shown = powerd.powerctl("init", "--stdout")
        assert (shown.returncode, powerd.models.exists()) == (0, False)
        assert "broken.gguf is left out" in shown.stderr
        planned = powerd.powerctl("plan", "-f", "-", stdin=shown.stdout).stdout
        assert "5 to create; nothing to fetch" in planned, planned
        written = powerd.powerctl("init")
        assert (written.returncode, written.stdout) == (0, f"wrote {powerd.models}: 5 models, nothing to fetch\n")
        assert powerd.models.read_text() == shown.stdout
        assert powerd.powerctl("validate", str(powerd.models)).stdout == "valid: 5 models declared\n"
        assert powerd.powerctl("apply", "--wait", "--timeout", "30").returncode == 0
        names = {model["name"] for model in powerd.status()["models"]}
        assert names == {"mine", "team-mine", "small:1b", "Tiny-GGUF:Q8_0", "Tiny.F16"}
        assert powerd.post("/api/show", {"model": "mine"}).json()["system"] == "Be brief."
        assert powerd.post("/api/show", {"model": "hf.co/unsloth/Tiny-GGUF:Q8_0"}).json()["system"] == "Be brief."
        again = powerd.powerctl("init")
        assert (again.returncode, powerd.models.read_text()) == (1, shown.stdout)
        assert "exists and is not touched" in again.stderr


def test_init_needs_no_daemon(tmp_path: Path) -> None:
    installed(tmp_path / "xdg/power/models", tiny(tmp_path / "r.gguf"), "mine")
    powerd = Powerd(tmp_path, XDG_DATA_HOME=str(tmp_path / "xdg"), POWER_STATE=str(tmp_path / "xdg/power"))
    shown = powerd.powerctl("init", "--stdout")
    assert (shown.returncode, "  mine:\n    source: mine\n" in shown.stdout) == (0, True), shown.stderr


def test_an_update_asks_the_source_of_what_was_taken_as_installed(tmp_path: Path) -> None:
    installed(tmp_path / ".ollama/models", tiny(tmp_path / "r.gguf"), "mine")
    with Powerd(tmp_path, config="offline: true\n", models="models:\n  mine: {source: mine}\n") as powerd:
        powerd.wait("Fits", "mine")
        assert "offline" in powerd.powerctl("update", "mine").stdout
