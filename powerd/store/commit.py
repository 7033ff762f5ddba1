"""Commit: the one order in which checked bytes become a visible blob, whatever brought them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from powerd.digest import Digest
from powerd.store.failpoints import reach
from powerd.store.files import sync_directory, sync_file


def publish(fd: int, path: Path, blobs: Path, digest: Digest, on_publish: Callable[[Digest], None]) -> None:
    """Sync the file, have its lease taken, rename it into `blobs`, sync the directory. Raises OSError.

    `fd` is the file at `path`, which is on the same file system as `blobs`; size and digest were checked before.
    """
    reach("commit.before_sync")
    sync_file(fd)
    on_publish(digest)
    reach("commit.before_rename")
    path.rename(blobs / digest.blob_name)
    reach("commit.after_rename")
    sync_directory(blobs)
    reach("commit.after_directory_sync")
