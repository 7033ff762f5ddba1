"""What a log may tell."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAILS = """
import structlog
from powerd import log

def ask(key):
    raise RuntimeError("never seen before")

log.configure("{style}", "info")
try:
    ask("hunter2" * 2)
except RuntimeError:
    structlog.get_logger("powerd").exception("it failed")
"""


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_failure_is_logged_with_its_traceback_and_without_what_its_variables_held(style: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILS.format(style=style)], capture_output=True, text=True, check=True, timeout=30
    )
    assert "never seen before" in done.stderr
    assert "in ask" in done.stderr
    assert "hunter2hunter2" not in done.stderr
