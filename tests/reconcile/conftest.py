"""Quick withdrawals: the two seconds are the reconciler's own, and no test here is about their length."""

from __future__ import annotations

import pytest

from powerd.reconcile import reconciler


@pytest.fixture(autouse=True)
def _quick_withdrawals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "WITHDRAW_SECONDS", 0.2)
