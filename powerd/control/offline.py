"""`powerd --fsck`: the check of the store while no daemon runs. Prints what `powerctl fsck` prints."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from powerd.control.schema import FsckReport
from powerd.control.store import fsck_report
from powerd.quantities import show_bytes
from powerd.store.store import Store


def check_store(root: Path, *, repair: bool, as_json: bool) -> int:
    """Check every byte; returns 0 when no model is harmed, else 1.

    Raises Conflict while a daemon holds the store, StoreFailed.
    """
    store = Store(root)
    store.open()
    try:
        report = fsck_report(store.fsck(repair=repair))
    finally:
        store.close()
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    else:
        _print(report)
    return 0 if report.sound else 1


def _print(report: FsckReport) -> None:
    for finding in report.findings:
        needed = f"; needed by {', '.join(finding.models)}" if finding.models else ""
        moved = f"; moved to {finding.moved_to}, the next pull fetches it again" if finding.moved_to else ""
        sys.stdout.write(f"{finding.kind.replace('_', ' ')}: {finding.message}{needed}{moved}\n")
    judged = "sound" if report.sound else "not sound"
    size = show_bytes(report.bytes)
    sys.stdout.write(f"{report.blobs} blobs, {size}, {report.manifests} manifests: {judged}\n")
