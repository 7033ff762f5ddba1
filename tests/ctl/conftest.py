"""The scripted daemon, and nothing of this machine's own in the environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ctl.scripted_daemon import ScriptedDaemon


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedDaemon]:
    """A scripted daemon that verbs called in this process find by themselves."""
    with ScriptedDaemon(tmp_path / "s") as scripted:
        monkeypatch.setenv("POWER_SOCKET", str(scripted.path))
        yield scripted
