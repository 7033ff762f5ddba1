"""Lower stores: other Ollama directories and Hugging Face caches on this machine, served from and never written."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from powerd.digest import Digest
from powerd.errors import BadRequest
from powerd.store.files import MANIFEST_MODE, naming, read_small, replace_file, stamp
from powerd.store.shelf import Shelf

#: Where Ollama's packages put the models of the service (Linux installer, Debian and Fedora packages).
_SYSTEM = (
    Path("/usr/share/ollama/.ollama/models"),
    Path("/var/lib/ollama/models"),
    Path("/var/lib/ollama/.ollama/models"),
)
_MAX_LIST = 1 << 20


def default_lower(home: Path, environ: Mapping[str, str], system: tuple[Path, ...] = _SYSTEM) -> tuple[Path, ...]:
    """The directories that exist and can be read: the user's own Ollama's, the service's, the Hugging Face cache."""
    cache = Path(environ.get("HF_HOME") or home / ".cache" / "huggingface")
    hub = Path(environ.get("HF_HUB_CACHE") or cache / "hub").expanduser()
    found = [path for path in (home / ".ollama" / "models", *system) if _readable(path)]
    return (*found, *([hub] if _is_hub(hub) else []))


def _readable(path: Path) -> bool:
    try:
        return all(
            (path / part).is_dir() and os.access(path / part, os.R_OK | os.X_OK) for part in ("manifests", "blobs")
        )
    except OSError:
        return False


def _is_hub(path: Path) -> bool:
    try:
        return path.is_dir() and any(path.glob("models--*"))
    except OSError:
        return False


class HubShelf(Shelf):
    """A cache of huggingface_hub: `models--<org>--<repo>/blobs/<etag>`, where the etag of a large file is its SHA-256.

    It has blobs and no manifests. That a file has the digest it is named for is checked before it is used.
    """

    def blob(self, digest: Digest) -> Path | None:
        """The file of a blob in any repository of the cache; None when absent."""
        places = (repository / "blobs" / digest.hex for repository in self.repositories())
        return next((path for path in places if stamp(path) is not None), None)

    def digests(self) -> Iterator[tuple[Digest, int]]:
        """Digest and size in bytes of every file that is kept by its SHA-256."""
        for repository in self.repositories():
            for path in sorted((repository / "blobs").glob("?" * 64)):
                found = stamp(path)
                if found is not None and all(character in "0123456789abcdef" for character in path.name):
                    yield Digest(path.name), found[1]

    def repositories(self) -> list[Path]:
        """The directories of the model repositories."""
        return sorted(self.root.glob("models--*"))


def recognise(path: Path) -> Shelf:
    """The lower store that a directory is, or that lies below it. Raises BadRequest for any other, OSError."""
    for root in (path, path / "models", path / ".ollama" / "models"):
        if _readable(root):
            return Shelf(root, own=False)
    for root in (path, path / "hub"):
        if _is_hub(root):
            return HubShelf(root, own=False)
    raise BadRequest(
        f"{path} is neither an Ollama directory (with manifests/ and blobs/ that can be read) nor a Hugging Face cache "
        "(with models--*/)"
    )


class LowerStores:
    """The lower stores of a store: those it was given, then those an operator adopted, which a file of ours lists.

    `changing` is the lock of everything that writes manifests.
    """

    def __init__(self, own: Path, given: Sequence[Path], area: Path, changing: threading.RLock) -> None:
        self._own = own
        self._given = tuple(
            HubShelf(path, own=False) if _is_hub(path) else Shelf(path, own=False)
            for path in given
            if path.resolve() != own.resolve()
        )
        self._list = own / ".powerd" / "lower.json"
        self._area = area
        self._changing = changing
        self.shelves: tuple[Shelf, ...] = self._given

    def open(self) -> None:
        """Read the list. One that is torn, and directories that are gone, are passed over."""
        shelves = list(self._given)
        for path in self._adopted():
            with contextlib.suppress(OSError, BadRequest):
                shelf = recognise(path)
                if shelf.root.resolve() not in {self._own.resolve(), *(other.root.resolve() for other in shelves)}:
                    shelves.append(shelf)
        self.shelves = tuple(shelves)

    def add(self, root: Path) -> None:
        """Serve from this directory too, from now on and after a restart. Raises StoreFailed."""
        with self._changing, naming(self._list, "writing"):
            adopted = self._adopted()
            known = (*adopted, *(shelf.root for shelf in self.shelves))
            if root.resolve() not in [path.resolve() for path in known]:
                self._write([*adopted, root])

    def drop(self, root: Path) -> bool:
        """Serve no longer from an adopted directory; returns whether it was one. Raises StoreFailed."""
        with self._changing, naming(self._list, "writing"):
            adopted = self._adopted()
            if root not in adopted:
                return False
            self._write([path for path in adopted if path != root])
            return True

    def _adopted(self) -> list[Path]:
        try:
            return [Path(path) for path in msgspec.json.decode(read_small(self._list, _MAX_LIST), type=list[str])]
        except (FileNotFoundError, ValueError):
            return []

    def _write(self, paths: Sequence[Path]) -> None:
        data = msgspec.json.encode([str(path) for path in paths]) + b"\n"
        replace_file(self._area / f"{uuid.uuid4().hex}.list", self._list, data, MANIFEST_MODE)
        self.open()
