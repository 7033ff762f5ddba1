"""Shelf: one directory in Ollama's layout, read. It finds names and blobs and writes nothing.

blobs/sha256-<64 hex>
manifests/<host>/<namespace>/<model>/<tag>
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from powerd.digest import Digest
from powerd.names import Name
from powerd.store.files import stamp

_PARTS = 4  # host, namespace, model, tag


class Shelf:
    """A store directory. Ours (`own`) must hold plain files; in others symbolic links to files are followed."""

    def __init__(self, root: Path, *, own: bool) -> None:
        self.root = root
        self.own = own
        self.blobs = root / "blobs"
        self.manifests = root / "manifests"

    def blob(self, digest: Digest) -> Path | None:
        """The file of a blob, under its name or the one early versions of Ollama gave it; None when absent."""
        for name in (digest.blob_name, str(digest)):
            if stamp(self.blobs / name, follow=not self.own) is not None:
                return self.blobs / name
        return None

    def digests(self) -> Iterator[tuple[Digest, int]]:
        """Digest and size in bytes of every blob; other files are passed over."""
        for entry in _entries(self.blobs):
            try:
                digest = Digest.parse(entry.name)
            except ValueError:
                continue
            if entry.is_file(follow_symlinks=not self.own):
                yield digest, entry.stat(follow_symlinks=not self.own).st_size

    def strays(self) -> Iterator[Path]:
        """What lies below `blobs/` and is no blob."""
        for entry in _entries(self.blobs):
            try:
                Digest.parse(entry.name)
            except ValueError:
                yield Path(entry.path)
                continue
            if not entry.is_file(follow_symlinks=not self.own):
                yield Path(entry.path)

    def names(self) -> Iterator[tuple[Path, Name | None]]:
        """Every file below `manifests/` and the name it stands for; None where the path is no name or unreadable.

        Dot files are passed over.
        """
        pending: list[tuple[Path, tuple[str, ...]]] = [(self.manifests, ())]
        while pending:
            directory, parts = pending.pop()
            try:
                entries = [(entry, entry.is_dir(follow_symlinks=not self.own)) for entry in _entries(directory)]
            except OSError:
                yield directory, None
                continue
            for entry, is_directory in entries:
                inner = (*parts, entry.name)
                if entry.name.startswith("."):
                    continue
                if is_directory and len(inner) < _PARTS:
                    pending.append((Path(entry.path), inner))
                else:
                    yield Path(entry.path), _name(inner)

    def spell(self, name: Name) -> Name:
        """The name as this directory already spells its parts: the case on disk wins over the case asked for."""
        directory = self.manifests
        parts: list[str] = []
        for part in (name.host, name.namespace, name.model, name.tag):
            spelled = part if (directory / part).exists() else _spelled(directory, part)
            parts.append(spelled)
            directory /= spelled
        return Name(*parts)

    def manifest(self, name: Name) -> Path:
        """Where the manifest of `name`, spelled as on disk, is or would be."""
        return self.manifests / name.path


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    """A directory's entries by name; an absent directory has none."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _name(parts: tuple[str, ...]) -> Name | None:
    if len(parts) != _PARTS:
        return None
    try:
        name = Name.parse(f"{parts[0]}/{parts[1]}/{parts[2]}:{parts[3]}")
    except ValueError:
        return None
    return name if name.path.parts == parts else None


def _spelled(directory: Path, part: str) -> str:
    lower = part.lower()
    return next((entry.name for entry in _entries(directory) if entry.name.lower() == lower), part)
