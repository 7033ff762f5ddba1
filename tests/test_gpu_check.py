"""`make gpu-check` says plainly when there is nothing to check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_without_a_gpu_it_refuses_and_builds_nothing(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert done.returncode == os.EX_UNAVAILABLE
    assert done.stderr == (
        "gpu-check: there is no NVIDIA GPU here (no nvidia-smi or no /dev/nvidiactl): nothing was checked\n"
    )
    assert done.stdout == ""
