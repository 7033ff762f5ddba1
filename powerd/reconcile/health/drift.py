"""Drift: what is no longer as it was made, in words for events. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from powerd.reconcile.step import Loss


def lost(losses: Sequence[Loss]) -> tuple[str, str]:
    """Reason and sentence of an event: what the disk does not have as it should."""
    names = [f"{loss.what} {loss.digest.short}" if loss.digest else loss.what for loss in losses]
    told = [f"{name}: as made -> {loss.how} on disk" for name, loss in zip(names, losses, strict=True)]
    changed = any(loss.how == "changed" for loss in losses)
    return ("TamperedBlob" if changed else "Lost"), "; ".join(told)
