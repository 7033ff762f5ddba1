"""A child that cannot be listened to."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from powerd.fleet.child import Child, Graces


def test_a_child_nobody_can_hear_is_ended_and_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> tuple[int, set[str], set[str]]:
        async def refused(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(asyncio.get_running_loop(), "connect_read_pipe", refused, raising=False)
        await (await asyncio.create_subprocess_exec("true")).wait()  # what watches children is open from here on
        before = set(os.listdir("/proc/self/fd"))
        child = Child(["sleep", "60"], "test", lambda _frame: None, Graces())
        with pytest.raises(OSError, match="Too many open files"):
            await child.run()
        return child.pid, before, set(os.listdir("/proc/self/fd"))

    pid, before, after = asyncio.run(scenario())
    assert after == before
    assert pid
    assert not Path(f"/proc/{pid}").exists()
