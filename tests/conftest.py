"""The suite runs in several processes, a module in each; a test marked `alone` runs while no other does."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

#: Files of the checkout that are locked, not written: whoever waits in the door for the room keeps later ones out.
DOOR, ROOM = Path(__file__), Path(__file__).with_name("__init__.py")


@contextmanager
def locked(path: Path, how: int) -> Generator[None]:
    """Hold the file's lock, shared or exclusive, against the other processes of this checkout's tests."""
    with path.open("rb") as file:
        fcntl.flock(file, how)
        yield


@contextmanager
def entered(alone: bool) -> Generator[None]:
    """Be in the room, with others or alone."""
    with ExitStack() as room:
        with locked(DOOR, fcntl.LOCK_EX):
            room.enter_context(locked(ROOM, fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Set up, call and tear down each test in the room."""
    with entered(item.get_closest_marker("alone") is not None):
        return (yield)
