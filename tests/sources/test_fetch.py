"""Fetching local files and the model inside the package."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import BadRequest, SourceFailed
from powerd.sources.fetch import fetch, identity
from powerd.sources.source import parse
from powerd.store.store import Store
from tests.store.shelves import weights
from tests.store.test_gguf import DEMO


def leftovers(store: Store) -> list[Path]:
    return [*(store.root / ".powerd" / "ingest").iterdir(), *(store.root / "blobs").iterdir()]


def test_the_built_in_model_becomes_a_real_blob(store: Store) -> None:
    source = parse("builtin:demo", Path("/"))
    digest = asyncio.run(fetch(source, store))
    path = store.blob(digest)
    assert path is not None
    assert path.read_bytes() == DEMO.read_bytes()
    assert path.stat().st_ino != DEMO.stat().st_ino or DEMO.stat().st_mode & 0o222 == 0
    assert identity(source) == identity(source) != ""


def test_a_file_is_taken_and_progress_is_heard_on_the_loop(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(DEMO.read_bytes())
    heard: list[tuple[int, int, str]] = []

    async def run() -> Digest:
        return await fetch(
            parse(str(file), tmp_path),
            store,
            on_progress=lambda done, total: heard.append((done, total, threading.current_thread().name)),
        )

    assert asyncio.run(run()) == Digest.of(DEMO.read_bytes())
    assert heard == [(DEMO.stat().st_size, DEMO.stat().st_size, "MainThread")]


def test_what_is_here_already_is_not_fetched(store: Store, tmp_path: Path) -> None:
    digest, size = store.put(weights())
    heard: list[tuple[int, int]] = []
    source = parse("./absent.gguf", tmp_path)
    found = asyncio.run(fetch(source, store, expect=digest, on_progress=lambda *both: heard.append(both)))
    assert found == digest
    assert heard == [(size, size)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<!DOCTYPE html><html>", r"not a GGUF file \(looks like HTML\)"),
        (b"", r"not a GGUF file \(looks like an empty file\)"),
        (weights()[:300], "truncated GGUF at byte 300"),
        (weights()[:-100], "tensor a.weight ends beyond file"),
        ((DEMO.parent / "CARD.md").read_bytes(), "not a GGUF file"),
    ],
)
def test_g19_a_file_that_is_no_model_never_enters_the_store(
    store: Store, tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "model.gguf").write_bytes(data)
    with pytest.raises(SourceFailed, match=rf"^\./model.gguf: {message}"):
        asyncio.run(fetch(parse("./model.gguf", tmp_path), store))
    assert leftovers(store) == []


def test_s29_no_file_no_hang(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for text in ("./fifo", ".", "/dev/zero", "./absent"):
        began = time.monotonic()
        source = parse(text, tmp_path)
        with pytest.raises(SourceFailed, match=r"not a regular file|No such file"):
            asyncio.run(fetch(source, store))
        assert time.monotonic() - began < 1
        with pytest.raises(SourceFailed, match=r"there is no such file|not a regular file"):
            identity(source)


def test_another_digest_than_pinned(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(weights())
    with pytest.raises(SourceFailed, match=r"model.gguf: digest mismatch, expected"):
        asyncio.run(fetch(parse("./model.gguf", tmp_path), store, expect=Digest("0" * 64)))
    assert leftovers(store) == []


def test_cancelling_stops_the_thread_that_copies(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(weights() + bytes(64 << 20))
    started = threading.Event()
    real = os.pread

    def slow(fd: int, length: int, offset: int) -> bytes:
        if length == 4 << 20:
            started.set()
            time.sleep(0.02)
        return real(fd, length, offset)

    async def run() -> None:
        task = asyncio.create_task(fetch(parse(str(file), tmp_path), store))
        await asyncio.to_thread(started.wait)
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 1

    monkeypatch.setattr(os, "pread", slow)
    asyncio.run(run())
    assert leftovers(store) == []


def test_an_unsupported_source_says_why(store: Store) -> None:
    with pytest.raises(BadRequest, match=r"begin with / or \./"):
        asyncio.run(fetch(parse("models/a.gguf", Path("/")), store))


def test_the_identity_of_a_file_changes_with_it(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"one")
    source = parse(str(file), tmp_path)
    before = identity(source)
    assert identity(source) == before
    file.write_bytes(b"other")
    assert identity(source) != before
    assert identity(parse("https://example.com/a.gguf", tmp_path)) == ""
