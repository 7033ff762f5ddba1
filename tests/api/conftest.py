"""One rig for all tests of the API: starting its children takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.rig import Rig


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("api")) as rig:
        yield rig
