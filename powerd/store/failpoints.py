"""Failpoints: named steps at which tests end the process or fail the disk. Without POWER_FAILPOINTS they do nothing.

`POWER_FAILPOINTS=commit.after_rename=kill,remove.before_blob=EIO@3` kills at the first commit and fails the third
removal. Each fires once.
"""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass

POINTS = (
    "ingest.before_create",
    "ingest.before_write",
    "ingest.after_write",
    "ingest.before_share",
    "commit.before_sync",
    "commit.before_rename",
    "commit.after_rename",
    "commit.after_directory_sync",
    "verified.before_mark",
    "replace.before_create",
    "replace.before_write",
    "replace.before_sync",
    "replace.before_rename",
    "replace.after_rename",
    "replace.after_directory_sync",
    "publish.before_manifest",
    "publish.after_manifest",
    "copy.before_manifest",
    "copy.after_manifest",
    "delete.before_manifest",
    "delete.after_manifest",
    "delete.before_blobs",
    "collect.before_mark",
    "collect.after_mark",
    "collect.before_leftovers",
    "remove.before_blob",
    "remove.after_blob",
    "remove.before_directory_sync",
    "quarantine.before_move",
    "quarantine.after_move",
)
#: The reconciler's, at the boundaries of its steps.
RECONCILE_POINTS = (
    "history.before_resolved",
    "history.after_resolved",
    "history.before_record",
    "history.after_record",
    "history.after_forgetting",
    "step.before_fetch",
    "step.after_fetch",
    "step.before_compose",
    "step.after_compose",
    "step.before_offer",
    "step.after_offer",
    "step.before_withdraw",
    "step.before_manifest_goes",
    "step.after_withdraw",
)
ACTIONS = ("kill", "EIO", "ENOSPC")


@dataclass(slots=True)
class _Armed:
    action: str
    countdown: int


_armed: dict[str, _Armed] = {}


def arm(text: str) -> None:
    """Take over a text in the form of POWER_FAILPOINTS; empty disarms. Raises ValueError for what is none."""
    _armed.clear()
    for part in filter(None, text.split(",")):
        point, _, rest = part.partition("=")
        action, _, number = rest.partition("@")
        if point not in (*POINTS, *RECONCILE_POINTS) or action not in ACTIONS or not (number or "1").isdecimal():
            raise ValueError(f"POWER_FAILPOINTS: {part!r} is not POINT=ACTION[@N]")
        _armed[point] = _Armed(action, int(number or "1"))


def waiting() -> list[str]:
    """The armed points that have not fired."""
    return [point for point, armed in _armed.items() if armed.countdown > 0]


def reach(point: str) -> None:
    """Say that the work has come to `point`. Raises OSError there when a test asked for it."""
    armed = _armed.get(point)
    if armed is None:
        return
    armed.countdown -= 1
    if armed.countdown:
        return
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    number = errno.EIO if armed.action == "EIO" else errno.ENOSPC
    raise OSError(number, os.strerror(number))


arm(os.environ.get("POWER_FAILPOINTS", ""))
