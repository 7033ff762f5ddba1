"""fsck: read every byte of our store, say what is wrong, and move corrupt blobs out of the way. It deletes nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from powerd.digest import Digest
from powerd.errors import PowerError
from powerd.names import Name
from powerd.quantities import show_bytes
from powerd.store.blobs import Blobs
from powerd.store.files import naming, read_small, regular
from powerd.store.manifest import MAX_MANIFEST, Manifest, parse_manifest
from powerd.store.shelf import Shelf
from powerd.store.verified import hash_file

Kind = Literal[
    "corrupt", "truncated", "unreadable_blob", "unreadable_manifest", "missing_blob", "orphan", "ill_named", "leftover"
]
#: What takes space but harms no model.
HARMLESS: frozenset[Kind] = frozenset({"orphan", "ill_named", "leftover"})

#: Where a digest's blob lies, or None.
FindBlob = Callable[[Digest], Path | None]
#: Hears bytes read, and bytes to read in all; called about every 4 MiB, and may raise to stop.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `subject` is a digest, a model's name or a path."""

    kind: Kind
    subject: str
    message: str
    size: int = 0  # bytes on disk
    models: tuple[str, ...] = ()  # that cannot be served because of it
    moved_to: str = ""  # where repair put it

    @property
    def harmless(self) -> bool:
        """Whether it only takes space."""
        return self.kind in HARMLESS


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was looked at and what was found. `sound`: every model of ours is whole."""

    blobs: int
    bytes: int
    manifests: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing harms a model; what was repaired still did."""
        return all(finding.harmless for finding in self.findings)


@dataclass(slots=True)
class _Named:
    """A digest as the manifests speak of it."""

    sizes: set[int] = field(default_factory=set)
    models: list[str] = field(default_factory=list)


class Fsck:
    """One run over one store. Blobs that come, go or change meanwhile are left to the next run."""

    def __init__(
        self, shelf: Shelf, blobs: Blobs, find_blob: FindBlob, *, repair: bool, on_progress: OnProgress
    ) -> None:
        self._shelf = shelf
        self._blobs = blobs
        self._find_blob = find_blob
        self._repair = repair
        self._on_progress = on_progress
        self._findings: list[Finding] = []
        self._done = 0
        self._total = 0

    def run(self) -> FsckReport:
        """Look at everything. Raises StoreFailed, and what `on_progress` raises."""
        with naming(self._shelf.root, "checking"):
            sizes = dict(self._shelf.digests())
            self._total = sum(sizes.values())
            models, blocked = self._manifests()
            named: dict[Digest, _Named] = {}
            for name, manifest in models:
                self._collect_names(name, manifest, named)
            for digest, size in sizes.items():
                self._blob(digest, size, named.get(digest))
                if digest not in named and not blocked and not self._blobs.leases.held(digest):
                    self._find("orphan", str(digest), "no manifest names this blob", size)
            for digest, speak in named.items():
                self._missing(digest, speak)
            self._litter()
        return FsckReport(len(sizes), self._total, len(models) + blocked, tuple(self._findings))

    def _find(self, kind: Kind, subject: str, message: str, size: int = 0, models: tuple[str, ...] = ()) -> None:
        self._findings.append(Finding(kind, subject, message, size, models))

    def _manifests(self) -> tuple[list[tuple[Name, Manifest]], int]:
        """Manifests that can be read, and how many cannot."""
        models, blocked = [], 0
        for path, name in self._shelf.names():
            try:
                if name is None:
                    raise ValueError("it cannot be read, or is not the place of a manifest")
                models.append((name, parse_manifest(read_small(path, MAX_MANIFEST))))
            except (OSError, ValueError) as error:
                if name is not None and not os.path.lexists(path):
                    continue
                blocked += 1
                why = error.strerror if isinstance(error, OSError) else str(error)
                message = f"{path}: {why}; no blob is deleted while it is there: pull it again or remove the file"
                self._find("unreadable_manifest", name.display if name else str(path), message)
        return models, blocked

    def _collect_names(self, name: Name, manifest: Manifest, named: dict[Digest, _Named]) -> None:
        for layer in dict.fromkeys((manifest.config, *manifest.layers)):
            speak = named.setdefault(layer.digest, _Named())
            speak.sizes.add(layer.size)
            if name.display not in speak.models:
                speak.models.append(name.display)

    # ------------------------------------------------------------ blobs

    def _blob(self, digest: Digest, size: int, named: _Named | None) -> None:
        before = self._done
        models = tuple(sorted(named.models)) if named else ()
        path = self._shelf.blob(digest)
        if path is not None:
            try:
                actual, status = self._hash(digest, path)
            except FileNotFoundError:
                actual = digest
            except OSError as error:
                actual = digest
                self._find("unreadable_blob", str(digest), f"{path}: {error.strerror}", size, models)
            if actual != digest:
                short = named is not None and all(status.st_size < size for size in named.sizes)
                kind: Kind = "truncated" if short else "corrupt"
                message = f"blob {digest} is {kind}: its {show_bytes(status.st_size)} hash to {actual}"
                self._condemn(Finding(kind, str(digest), message, status.st_size, models), digest, path, status)
        self._report(before + size - self._done)

    def _hash(self, digest: Digest, path: Path) -> tuple[Digest, os.stat_result]:
        with regular(path, follow=False) as (fd, status):
            actual = hash_file(fd, self._report)
            if actual == digest and _same(os.fstat(fd), status):
                self._blobs.verified.mark(digest, status)
            return actual, status

    def _condemn(self, finding: Finding, digest: Digest, path: Path, status: os.stat_result) -> None:
        """Report a bad blob, and move it away if asked, unless another file has taken its place."""
        with self._blobs.leases.deciding, contextlib.suppress(FileNotFoundError):
            if _same(path.stat(follow_symlinks=False), status):
                self._blobs.verified.forget(digest)
                moved = str(self._blobs.quarantine(digest, path)) if self._repair else ""
                self._findings.append(replace(finding, moved_to=moved))

    def _report(self, count: int) -> None:
        self._done += count
        self._on_progress(self._done, self._total)

    def _missing(self, digest: Digest, named: _Named) -> None:
        if any(finding.subject == str(digest) and not finding.harmless for finding in self._findings):
            return
        try:
            path = self._find_blob(digest)
        except PowerError:
            return
        if path is None:
            self._find("missing_blob", str(digest), f"blob {digest} is missing", 0, tuple(sorted(named.models)))
            return
        size = path.stat().st_size
        if size not in named.sizes:
            said = ", ".join(str(each) for each in sorted(named.sizes))
            message = f"blob {digest} has {size} bytes where its manifests say {said}"
            self._find("unreadable_manifest", str(digest), message, size, tuple(sorted(named.models)))

    def _litter(self) -> None:
        for path in self._shelf.strays():
            self._find("ill_named", str(path), f"{path} is not named like a blob", path.lstat().st_size)
        for path, size in self._blobs.leftovers():
            self._find("leftover", str(path), f"{path} is left from an ingest or an unfinished download", size)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_size, one.st_mtime_ns) == (other.st_ino, other.st_size, other.st_mtime_ns)
