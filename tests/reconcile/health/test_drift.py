"""drift: what was lost on disk, in words."""

from __future__ import annotations

from powerd.digest import Digest
from powerd.reconcile.health.drift import lost
from powerd.reconcile.step import Loss


def test_a_loss_is_told_with_before_and_after() -> None:
    weights = Loss("weights", "changed", Digest("ab" * 32))
    assert lost([Loss("manifest", "missing")]) == ("Lost", "manifest: as made -> missing on disk")
    assert lost([weights, Loss("layer", "missing", Digest("cd" * 32))]) == (
        "TamperedBlob",
        "weights abababababab: as made -> changed on disk; layer cdcdcdcdcdcd: as made -> missing on disk",
    )
