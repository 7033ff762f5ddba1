from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from powerd.ctl.main import main
from powerd.ctl.terminal import Terminal
from powerd.ctl.validate import validate
from tests.ctl.scripted_daemon import ROOT


def stand_in(directory: Path, code: str) -> str:
    """An interpreter that notes its arguments and ends as told, in place of the one that runs powerd."""
    program = directory / "python"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@"\n{code}\n')
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(("code", "result"), [("exit 0", 0), ("exit 78", 1), ("exit 64", 1), ("kill -9 $$", 1)])
def test_the_exit_code_is_one_when_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], code: str, result: int
) -> None:
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path, code))
    monkeypatch.setattr(sys, "path", ["/usr/bin", *sys.path])
    assert main(["validate", "m.yaml", "--config", "p.yaml", "--json"]) == result
    told = ["-P", "-m", "powerd", "--check", "--models", "m.yaml", "--config", "p.yaml", "--json"]
    assert capfd.readouterr().out.splitlines() == told


def test_the_files_are_powerds_own_choice_when_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path, "exit 0"))
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    assert main(["validate"]) == 0
    assert capfd.readouterr().out.splitlines() == ["-m", "powerd", "--check"]


def test_a_powerd_in_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "powerd.py").write_text("print('the wrong powerd')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [os.path.dirname(sys.executable), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    validate(Namespace(file=str(tmp_path / "none.yaml"), config=None, json=False), Terminal(sys.stdout, sys.stderr, {}))
    assert "the wrong powerd" not in capfd.readouterr().out
