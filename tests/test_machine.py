"""machine: what hinders a user on the way to a file, who holds a port, which drivers are here."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from powerd.machine import drivers, engine, engine_version, hindrance, holder

NOBODY = 65_000


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may enter; pytest's own lies below one that only its user may."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name).resolve()
        directory.chmod(0o755)
        yield directory


def test_the_first_element_that_keeps_a_user_out_is_named(place: Path) -> None:
    locked = place / "locked"
    (locked / "inner").mkdir(parents=True)
    file = locked / "inner" / "models.yaml"
    file.touch(0o644)
    locked.chmod(0o750)
    assert hindrance(file, NOBODY, (), os.R_OK) == (locked, "cannot be entered")
    assert hindrance(file, NOBODY, (locked.stat().st_gid,), os.R_OK) is None
    locked.chmod(0o755)
    file.chmod(0o600)
    assert hindrance(file, NOBODY, (), os.R_OK) == (file, "cannot be read")
    assert hindrance(locked, NOBODY, (), os.R_OK | os.W_OK | os.X_OK) == (
        locked,
        "cannot be read and written and entered",
    )
    assert hindrance(file, 0, (), os.R_OK | os.W_OK) is None, "root may everything"
    assert hindrance(file, file.stat().st_uid, (), os.R_OK | os.W_OK) is None


def test_what_is_missing_must_be_possible_to_make(place: Path) -> None:
    missing = place / "state" / "store"
    assert hindrance(missing, NOBODY, (), os.R_OK) is None
    assert hindrance(missing, NOBODY, (), os.W_OK) == (place, "cannot be written")
    assert hindrance(missing, place.stat().st_uid, (), os.W_OK) is None


def test_the_program_that_holds_a_port_is_found() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert f"(pid {os.getpid()})" in holder(taken.getsockname()[1])
    assert holder(1) == ""


def test_drivers_by_their_files(tmp_path: Path) -> None:
    assert drivers(tmp_path) == []
    (tmp_path / "dev/dri").mkdir(parents=True)
    (tmp_path / "dev/dri/renderD128").touch()
    (tmp_path / "dev/nvidia0").touch()
    (tmp_path / "dev/kfd").touch()
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: NVIDIA UNIX x86_64 Module  570.86.15  Thu\n")
    assert drivers(tmp_path) == ["NVIDIA driver 570.86.15", "AMD driver (ROCm)", "DRM render nodes"]


def test_the_engine_has_a_version() -> None:
    assert engine_version()[0].isdigit()
    assert engine() == f"llama.cpp via llama-cpp-python {engine_version()}"
