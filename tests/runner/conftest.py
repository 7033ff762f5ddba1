"""Runners for tests: each ends with its test, however that went."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.runner.child import Child


@pytest.fixture
def spawn() -> Iterator[Callable[[], Child]]:
    """Start a runner."""
    children: list[Child] = []

    def start() -> Child:
        children.append(Child())
        return children[-1]

    yield start
    for child in children:
        child.close()
