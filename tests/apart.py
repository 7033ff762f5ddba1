"""A module of the tests in a process of its own, because what it does to itself no test survives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def apart(module: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE DIRECTORY`, which must succeed; returns what it said."""
    done = subprocess.run(
        [sys.executable, "-m", module, str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done
