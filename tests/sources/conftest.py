"""A store, and no proxy between the tests and the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from powerd.store.store import Store


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    opened.open()
    yield opened
    opened.close()
