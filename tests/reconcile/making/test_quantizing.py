"""Quantizing over a real store and the real engine."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from powerd.errors import BadRequest, NoSpace
from powerd.reconcile.making.quantizing import COMMAND, KINDS, kind_of, quantize
from powerd.store.gguf import read_header
from powerd.store.store import Store
from tests import gguf_maker


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gguf_maker.full(tmp_path_factory.mktemp("full") / "full.gguf")[0]


@pytest.mark.model
@pytest.mark.parametrize("kind", ["F32", "BF16", "Q8_0", "Q4_K_M", "Q4_0", "IQ4_XS", "Q2_K"])
def test_the_blob_is_of_the_kind_that_was_asked_for(store: Store, full: Path, kind: str) -> None:
    steps: list[tuple[int, int]] = []
    digest = asyncio.run(quantize(full, kind, store, lambda done, total: steps.append((done, total))))
    path = store.blob(digest)
    assert path is not None
    header = read_header(path)
    header.check_model()
    assert header.file_type == kind
    assert steps == sorted(steps)
    assert len(steps) == 21
    assert steps[-1][0] == steps[-1][1]


def test_kinds_are_read_in_any_case_and_by_their_short_names() -> None:
    assert [kind_of(text) for text in ("q4_k", "Q4_K_m", "f16", "q5_K", "iq4_nl")] == [
        *("Q4_K_M", "Q4_K_M", "F16", "Q5_K_M", "IQ4_NL"),
    ]
    assert all(kind_of(kind) == kind for kind in KINDS)
    for text in ("", "Q4_K_XL", "Q4_K_M ", "q" * 1000):
        with pytest.raises(BadRequest, match=r"unsupported quantization type .* - supported types are F32, F16, BF16"):
            kind_of(text)
    with pytest.raises(BadRequest, match="importance matrix"):
        kind_of("iq2_xs")


def test_only_full_precision_is_quantized(store: Store, tmp_path: Path) -> None:
    tiny = gguf_maker.tiny(tmp_path / "tiny.gguf")
    with pytest.raises(BadRequest, match="only supported for F16, BF16 and F32 models"):
        asyncio.run(quantize(tiny, "Q4_K_M", store, lambda *_: None))


def test_s37_an_unsound_file_never_reaches_the_engine(store: Store, full: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(full.read_bytes()[:-100])
    command = (sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(BadRequest, match="ends beyond file"):
        asyncio.run(quantize(cut, "Q8_0", store, lambda *_: None, command))
    assert not (tmp_path / "ran").exists()


def test_room_is_looked_for_before_the_work_begins(tmp_path: Path, full: Path) -> None:
    store = Store(tmp_path / "small", quota=1_000_000)
    store.open()
    try:
        with pytest.raises(NoSpace, match=r"the quantized model needs about .* have "):
            asyncio.run(quantize(full, "Q8_0", store, lambda *_: None, COMMAND))
    finally:
        store.close()
