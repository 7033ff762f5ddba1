"""The clients people use, unchanged, each doing a chat, a stream, a tool round trip and an embedding."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.declared import EMBEDDER, INSTALLED, MODEL, ROOT, declared_powerd, environ
from tests.wire.powerd_process import Powerd

DRIVES = Path(__file__).parent / "drives"
EACH = sorted(path.name for path in DRIVES.iterdir() if path.suffix in {".py", ".mjs"} and path.stem != "told")
#: Which environment a drive's client is installed in, where that is not `python`.
ELSEWHERE = {"instructor_client.py": "held_back", "litellm_client.py": "held_back"}
WITHOUT_EMBEDDINGS = {"anthropic_js.mjs"}
GGUF = ROOT / "powerd/demo/tiny-chat-q8_0.gguf"


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with declared_powerd(tmp_path_factory.mktemp("powerd")) as running:
        yield running


def command(drive: str) -> list[str]:
    """How a drive is run."""
    if drive.endswith(".py"):
        return [str(INSTALLED / ELSEWHERE.get(drive, "python") / "bin/python"), str(DRIVES / drive)]
    target = INSTALLED / "node" / drive  # node looks for packages beside the script
    target.write_bytes((DRIVES / drive).read_bytes())
    return ["node", str(target)]


def driven(powerd: Powerd, drive: str, home: Path) -> dict[str, Any]:
    """What a client got; fails with what it said."""
    told = {
        "POWERD_URL": powerd.url,
        "POWERD_MODEL": MODEL,
        "POWERD_EMBEDDER": EMBEDDER,
        "POWERD_GGUF": str(GGUF),
        "OLLAMA_HOST": powerd.url,
        "LLM_USER_PATH": str(home),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    done = subprocess.run(
        command(drive), capture_output=True, text=True, timeout=120, env=environ(home) | told, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    got: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return got


@pytest.mark.clients
@pytest.mark.parametrize("drive", EACH)
def test_a_client_works_unchanged(powerd: Powerd, drive: str, tmp_path: Path) -> None:
    got = driven(powerd, drive, tmp_path)
    assert "5" in got["chat"]
    assert "".join(got["stream"]).strip() == got["chat"].strip()
    assert got["called"] == "Paris"
    assert "21" in got["answer"]
    assert got["vector"] == (None if drive in WITHOUT_EMBEDDINGS else 128)
