"""The checks of the command line: what they print and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from powerd.__main__ import run
from powerd.catalog.json_schema import schema
from powerd.config import EX_CONFIG

ONE = "apiVersion: powerd/v1\nmodels:\n  a: {source: x}\n"


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Exit code and problems of `powerd --check`."""
    settings = path.with_name("powerd.yaml")
    settings.touch()
    code = run(["--config", str(settings), "--check", "--json", "--models", str(path)])
    return code, json.loads(capsys.readouterr().out)["problems"]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models.d").mkdir()
    (tmp_path / "models.yaml").write_text(ONE)
    return tmp_path / "models.yaml"


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()


def test_a_check_reads_the_fragments_too(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fragment = models.parent / "models.d" / "b.yaml"
    fragment.write_text(ONE.replace("a:", "b:"))
    assert check(models, capsys) == (0, [])
    fragment.write_text(ONE)
    code, (problem,) = check(models, capsys)
    assert code == EX_CONFIG
    assert problem.startswith(f"{fragment}:3:3: ")
    assert f"at {models}:3:3" in problem


def test_a_check_says_what_cannot_be_read(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models.parent / "models.d" / "b.yaml").mkdir()
    code, (problem,) = check(models, capsys)
    assert (code, "b.yaml: not a regular file" in problem) == (EX_CONFIG, True)


def test_a_check_asks_for_the_file_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path / "gone.yaml", capsys) == (EX_CONFIG, [f"{tmp_path}/gone.yaml: there is no such file"])
