"""The demo model's checkpoint: written once, copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.convert import checkpoints


@pytest.fixture(scope="session")
def demo_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("checkpoint") / "demo"
    checkpoints.demo(folder)
    return folder


@pytest.fixture
def demo(demo_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(demo_checkpoint, tmp_path / "demo"))
