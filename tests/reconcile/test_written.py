"""written: what was fetched comes back from disk as it was."""

from __future__ import annotations

import msgspec
import pytest

from powerd.digest import Digest
from powerd.reconcile.step import Fetched
from powerd.reconcile.written import Written, read, written
from powerd.store.manifest import SYSTEM_TYPE, Layer

A, B, C = (Digest(letter * 64) for letter in "abc")
ALL = Fetched("org/m", "looks", A, B, "Q8_0", f"{B}", (Layer(SYSTEM_TYPE, C, 5),), "commit", (("parser", "qwen3"),))


@pytest.mark.parametrize("fetched", [ALL, Fetched("/m.gguf", "looks", A, A)])
def test_every_field_comes_back(fetched: Fetched) -> None:
    kept = msgspec.json.encode(Written(**written(fetched)))
    assert read(msgspec.json.decode(kept, type=Written), A) == fetched


def test_a_digest_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid digest"):
        read(Written(source="", identity="", origin="nonsense"), A)
