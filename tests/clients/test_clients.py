"""The clients people use, unchanged, each doing a chat, a stream, a tool round trip and an embedding."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.powerd_process import SCRUBBED, Powerd

HERE = Path(__file__).parent
INSTALLED = HERE.parent.parent / ".clients"
MODEL = "quiet:latest"
MODELS = "models:\n  quiet: {source: 'builtin:demo', think: false, parameters: {temperature: 0}}\n"
DRIVES = sorted(
    path.name for path in (HERE / "drives").glob("*.*") if path.suffix in {".py", ".mjs"} and path.stem != "told"
)


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with Powerd(tmp_path_factory.mktemp("powerd"), models=MODELS) as running:
        running.wait("Fits", "quiet")
        yield running


def driven(powerd: Powerd, drive: str, home: Path) -> dict[str, Any]:
    """What a client got; fails with what it said."""
    node = drive.endswith(".mjs")
    program = ["node"] if node else [str(INSTALLED / "python/bin/python")]
    if node:  # packages are looked for beside the script
        target = INSTALLED / "node" / drive
        target.write_bytes((HERE / "drives" / drive).read_bytes())
    else:
        target = HERE / "drives" / drive
    environ = {name: value for name, value in os.environ.items() if not name.startswith(SCRUBBED)}
    environ |= {"POWERD_URL": powerd.url, "POWERD_MODEL": MODEL, "POWERD_EMBEDS": "1", "OLLAMA_HOST": powerd.url}
    environ |= {"HOME": str(home), "LLM_USER_PATH": str(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [*program, str(target)], capture_output=True, text=True, timeout=120, env=environ, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    got: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return got


@pytest.mark.clients
@pytest.mark.parametrize("drive", DRIVES)
def test_a_client_works_unchanged(powerd: Powerd, drive: str, tmp_path: Path) -> None:
    got = driven(powerd, drive, tmp_path)
    assert "5" in got["chat"]
    assert "".join(got["stream"]).strip() == got["chat"].strip()
    assert got["called"] == "Paris"
    assert "21" in got["answer"]
    assert got["vector"] > 8
