"""ManifestTree: the manifests of our store as files, written and removed whole. The caller holds the store's lock."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from powerd.digest import Digest
from powerd.store import files
from powerd.store.collect import references
from powerd.store.failpoints import reach
from powerd.store.manifest import MAX_MANIFEST
from powerd.store.shelf import Shelf


class ManifestTree:
    """Everything below `manifests/` of our shelf. Temporary files go to `area`. Every call may raise OSError."""

    def __init__(self, shelf: Shelf, area: Path) -> None:
        self._shelf = shelf
        self._area = area

    def write(self, path: Path, data: bytes) -> None:
        """Put a manifest in its place in one step; the same bytes again write nothing."""
        if files.stamp(path, follow=False) is not None and files.read_small(path, MAX_MANIFEST) == data:
            return
        try:
            files.make_directories(path.parent)
            files.replace_file(self._area / f"{uuid.uuid4().hex}.manifest", path, data, files.MANIFEST_MODE)
        except OSError:
            files.remove_empty(path.parent, self._shelf.manifests)
            raise

    def remove(self, path: Path) -> bool:
        """Take a manifest away, and the directories that are empty then; returns whether it was there."""
        if not os.path.lexists(path):
            return False
        reach("delete.before_manifest")
        path.unlink()
        files.sync_directory(path.parent)
        reach("delete.after_manifest")
        files.remove_empty(path.parent, self._shelf.manifests)
        return True

    def needed(self) -> set[Digest] | None:
        """What the manifests name; None when one of them cannot be read, and then nothing may be deleted."""
        listed = list(self._shelf.names())
        if any(name is None for _, name in listed):
            return None
        return references([path for path, _ in listed])

    def unreadable(self) -> list[Path]:
        """Manifests that cannot be read, and what lies among them and is none."""
        return [path for path, name in self._shelf.names() if name is None or references([path]) is None]
