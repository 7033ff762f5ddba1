"""A disk that is really full, and one that is really read-only: small tmpfs mounts (needs root, as CI has)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import NoSpace, PowerError, StoreFailed
from powerd.names import Name
from powerd.store.manifest import MODEL_TYPE, Layer
from powerd.store.store import Store
from tests.store.shelves import weights

pytestmark = pytest.mark.root

PAGE = os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def leave(disk: Path, pages: int) -> Path:
    """Fill the disk but for `pages`."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler.write_bytes(bytes(max(0, free - pages * PAGE)))
    return filler


def bring(store: Store) -> None:
    data = weights("large") + bytes(5 * PAGE)
    with store.ingest(None, None) as ingest:
        for start in range(0, len(data), PAGE):
            ingest.write(data[start : start + PAGE])
        digest = ingest.commit()
    store.publish(Name.parse("large"), [Layer(MODEL_TYPE, digest, len(data))], {})
    store.copy(Name.parse("large"), Name.parse("copied"))


def test_d01_a_full_disk_at_every_write_and_then_room_again(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", f"size={64 * PAGE}") as disk:
        store = Store(disk / "store")
        store.open()
        digest, size = store.put(weights("before"))
        store.publish(Name.parse("before"), [Layer(MODEL_TYPE, digest, size)], {})
        failures = 0
        for pages in range(40):
            filler = leave(disk, pages)
            try:
                bring(store)
            except NoSpace as error:
                failures += 1
                assert "need" in error.message, error.message
                assert "have" in error.message, error.message
                assert list((store.root / ".powerd" / "ingest").iterdir()) == []
                names = {model.name.model for model in store.models()}
                assert "before" in names
                assert store.problems == []
                for path in (store.root / "blobs").iterdir():
                    assert Digest.of(path.read_bytes()).blob_name == path.name
            else:
                break
            finally:
                filler.unlink()
            store.collect([], grace=0)
        assert failures > 5
        assert {model.name.model for model in store.models()} == {"before", "large", "copied"}
        store.close()


def test_d05_a_disk_without_inodes_says_so(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=4m,nr_inodes=20") as disk:
        store = Store(disk / "store")
        store.open()
        with contextlib.suppress(OSError):
            for index in range(100):
                (disk / str(index)).touch()
        with pytest.raises(NoSpace, match="no inodes left on this file system"):
            store.put(b"one more")
        store.close()


def test_d02_a_known_size_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=4m") as disk:
        store = Store(disk / "store")
        store.open()
        with pytest.raises(NoSpace, match=r"need 6.0 MiB in .*/disk/store, have (3.9|4.0) MiB \(limited by the disk\)"):
            store.ingest(None, 3 << 20)
        store.ingest(None, 1 << 20).abort()
        store.close()


def test_d04_a_read_only_disk_cannot_be_opened(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=4m,ro") as disk, pytest.raises(StoreFailed, match="Read-only file system"):
        Store(disk / "store").open()


def test_d04_every_change_on_a_read_only_disk_fails_cleanly(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=4m") as disk:
        store = Store(disk / "store")
        store.open()
        digest, size = store.put(weights())
        store.publish(Name.parse("demo"), [Layer(MODEL_TYPE, digest, size)], {})
        store.close()
        other = Store(disk / "store")  # not opened: its lock file could not be written
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for change in (
            lambda: other.put(b"new"),
            lambda: other.ingest(None, 10),
            lambda: other.delete(Name.parse("demo")),
            lambda: other.copy(Name.parse("demo"), Name.parse("other")),
            lambda: other.publish(Name.parse("again"), [Layer(MODEL_TYPE, digest, size)], {}),
        ):
            with pytest.raises(PowerError, match="Read-only file system"):
                change()
        assert [model.name.model for model in other.models()] == ["demo"]


def test_d05_a_blob_directory_on_another_disk_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with (
        mounted(tmp_path / "store" / "blobs", "size=1m"),
        pytest.raises(StoreFailed, match="is on another file system"),
    ):
        Store(tmp_path / "store").open()
