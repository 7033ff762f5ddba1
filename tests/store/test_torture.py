"""A process that changes a store is killed at random, again and again (K01 to K05); `make torture` does it longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_k01_k02_k03_k05_nothing_is_lost_when_the_process_is_killed_at_random() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--rounds", "40"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing lost" in done.stdout
