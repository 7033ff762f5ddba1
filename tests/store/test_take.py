"""Taking local files in: shared only where nobody can change the bytes afterwards."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import BadRequest, Cancelled, Conflict, NoSpace, StoreFailed
from powerd.store.ingest import Ingest
from powerd.store.store import Store

DATA = os.urandom(9 << 20)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.gguf"
    path.write_bytes(DATA)
    return path


def blob(store: Store, digest: Digest) -> Path:
    path = store.blob(digest)
    assert path is not None
    return path


def leftovers(store: Store) -> list[Path]:
    return list((store.root / ".powerd" / "ingest").iterdir())


def test_a_file_somebody_may_write_is_copied(store: Store, file: Path) -> None:
    heard: list[tuple[int, int]] = []
    digest = store.take(file, on_progress=lambda done, total: heard.append((done, total)))
    assert digest == Digest.of(DATA)
    assert blob(store, digest).stat().st_ino != file.stat().st_ino
    assert heard == [(4 << 20, 9 << 20), (8 << 20, 9 << 20), (9 << 20, 9 << 20)]
    file.write_bytes(b"changed")
    assert blob(store, digest).read_bytes() == DATA
    assert leftovers(store) == []


def test_a_file_of_ours_nobody_may_write_is_linked(store: Store, file: Path) -> None:
    file.chmod(0o444)
    digest = store.take(file)
    assert blob(store, digest).stat().st_ino == file.stat().st_ino
    assert file.stat().st_mode & 0o777 == 0o444
    file.unlink()
    assert blob(store, digest).read_bytes() == DATA
    assert leftovers(store) == []


def test_another_users_read_only_file_is_copied_for_its_owner_may_still_write(store: Store, file: Path) -> None:
    file.chmod(0o444)
    os.chown(file, 12345, -1)
    digest = store.take(file)
    assert blob(store, digest).stat().st_ino != file.stat().st_ino


def test_a_link_to_the_file_leads_to_its_bytes(store: Store, file: Path, tmp_path: Path) -> None:
    file.chmod(0o444)
    link = tmp_path / "link.gguf"
    link.symlink_to(file)
    assert blob(store, store.take(link)).stat().st_ino == file.stat().st_ino


def test_a_clone_is_read_back_and_hashed(store: Store, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def clone(self: Ingest, source: int) -> bool:
        self.path.write_bytes(os.pread(source, len(DATA), 0))
        return True

    monkeypatch.setattr(Ingest, "_clone", clone)
    heard: list[tuple[int, int]] = []
    digest = store.take(file, on_progress=lambda done, total: heard.append((done, total)))
    assert digest == Digest.of(DATA)
    assert heard[-1] == (len(DATA), len(DATA))
    assert blob(store, digest).stat().st_mode & 0o777 == 0o440


def test_an_unchanged_file_is_hashed_once(store: Store, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = store.take(file)
    monkeypatch.setattr(Ingest, "__init__", None)
    heard: list[tuple[int, int]] = []
    assert store.take(file, on_progress=lambda done, total: heard.append((done, total))) == digest
    assert store.take(file, expect=digest) == digest
    assert heard == [(len(DATA), len(DATA))]
    monkeypatch.undo()
    file.write_bytes(DATA[:100])
    assert store.take(file) == Digest.of(DATA[:100])


def test_a_blob_that_vanished_is_taken_again(store: Store, file: Path) -> None:
    digest = store.take(file)
    blob(store, digest).unlink()
    assert store.take(file) == digest
    assert blob(store, digest).read_bytes() == DATA


@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_other_bytes_than_expected_leave_nothing(store: Store, file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(BadRequest, match="digest mismatch"):
        store.take(file, expect=Digest("0" * 64))
    assert leftovers(store) == []
    assert list((store.root / "blobs").iterdir()) == []
    assert file.read_bytes() == DATA


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_file_that_changes_meanwhile_is_refused(store: Store, file: Path, change: str) -> None:
    def progress(_done: int, _total: int) -> None:
        with file.open("r+b") as writer:
            if change == "shrink":
                writer.truncate(100)
            else:
                writer.seek(0, os.SEEK_END if change == "grow" else os.SEEK_SET)
                writer.write(b"x")

    with pytest.raises(Conflict, match="changed while it was read"):
        store.take(file, on_progress=progress)
    assert leftovers(store) == []


def test_progress_may_stop_it(store: Store, file: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        store.take(file, on_progress=stop)
    assert leftovers(store) == []


def test_room_is_asked_for_a_copy_and_not_for_a_link(tmp_path: Path, file: Path) -> None:
    store = Store(tmp_path / "small", quota=1 << 20)
    store.open()
    with pytest.raises(NoSpace, match=r"need 18.0 MiB .* quota of 1.0 MiB"):
        store.take(file)
    file.chmod(0o444)
    store.take(file)
    store.close()


def test_s29_what_is_no_file_is_refused_at_once(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero"), tmp_path / "absent"):
        began = time.monotonic()
        with pytest.raises(StoreFailed, match=rf"reading {path}: (not a regular file|No such file or directory)"):
            store.take(path)
        assert time.monotonic() - began < 0.5


def test_the_same_file_taken_by_many_at_once(store: Store, file: Path) -> None:
    found: list[Digest] = []
    threads = [threading.Thread(target=lambda: found.append(store.take(file))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Digest.of(DATA)] * 4
    assert leftovers(store) == []
    assert len(list((store.root / "blobs").iterdir())) == 1
