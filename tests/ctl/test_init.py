"""The verb init, against a scripted daemon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from powerd.control.schema_store import InstalledModel
from powerd.ctl.exits import Failed
from powerd.ctl.init import entries_of, write_new


def model(source: str, namespace: str, name: str, tag: str = "latest") -> InstalledModel:
    return InstalledModel(source, namespace, name, tag, 2_019_393_189, "llama 3.2B Q4_K_M")


def test_names_with_a_host_become_aliases_of_names_without() -> None:
    found = entries_of(
        [
            model("llama3.2:latest", "library", "llama3.2"),
            model("team/llama3.2:latest", "team", "llama3.2"),
            model("hf.co/team/llama3.2:latest", "team", "llama3.2"),
            model("x.gguf:latest", "library", "x.gguf"),
        ]
    )
    assert [(entry.name, entry.fields["source"], entry.fields.get("aliases")) for entry in found] == [
        ("llama3.2", "llama3.2", None),
        ("team-llama3.2", "team/llama3.2", ["team/llama3.2"]),
        ("team-llama3.2-2", "hf.co/team/llama3.2", ["hf.co/team/llama3.2"]),
        ("x.gguf", "x.gguf:latest", None),
    ]
    assert found[0].notes == ["2.0 GB, llama 3.2B Q4_K_M"]


def test_a_file_appears_whole_and_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "power/models.yaml"
    write_new(path, "one")
    assert (path.read_text(), path.stat().st_mode & 0o777, os.listdir(path.parent)) == ("one", 0o644, ["models.yaml"])
    with pytest.raises(Failed, match="exists and is not touched"):
        write_new(path, "two")
    assert (path.read_text(), os.listdir(path.parent)) == ("one", ["models.yaml"])


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failed, match="file is no directory; `powerctl init --stdout` prints it instead"):
        write_new(tmp_path / "file/models.yaml", "")
