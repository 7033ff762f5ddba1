"""What `make clients` says to a machine that lacks something, and which versions the docs say it drives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients import needs
from tests.clients.declared import ROOT

PINNED = Path(__file__).parent / "pinned"
#: Pinned only so that the others run, or drive a page.
SILENT = {"mcp", "playwright", "npm zod"}


def test_a_machine_without_a_browser_or_node_is_told_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.clients.needs"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "make clients needs Chromium: apt-get install" in done.stderr
    assert "make clients needs node 20 or newer: apt-get install nodejs" in done.stderr
    assert "make clients needs npm: apt-get install npm" in done.stderr


def test_an_old_node_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v18.20.4\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert any(lack.startswith("node 20") for lack in needs.missing())
    node.write_text("#!/bin/sh\necho v20.1.0\n")
    assert not any(lack.startswith("node 20") for lack in needs.missing())


def pinned() -> dict[str, str]:
    """Every package by its name, npm's with the folder npm knows it by, and its version."""
    rows = [line.partition("#")[0].strip() for path in PINNED.glob("*.txt") for line in path.read_text().splitlines()]
    pairs = [row.split("==") for row in rows if "==" in row and ";" not in row]
    node: dict[str, str] = json.loads((PINNED / "package.json").read_text())["dependencies"]
    python = {name.partition("[")[0]: version for name, version in pairs}
    return python | {f"npm {name}": version for name, version in node.items()}


def test_the_docs_name_every_client_with_the_version_that_is_driven() -> None:
    page = (ROOT / "powerd/docs/compatibility.md").read_text()
    listed = " ".join(page.partition("## Clients tested")[2].partition("\n## ")[0].split())
    clients = [f"{name} {version}" for name, version in pinned().items() if name not in SILENT]
    assert len(clients) > 10
    assert [client for client in clients if client not in listed] == []
