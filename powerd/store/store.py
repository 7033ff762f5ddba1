"""Store: the models on this machine. One directory of our own over any number of lower ones, which are only read."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from powerd.digest import Digest
from powerd.errors import Conflict, Forbidden, NotFound
from powerd.names import Name
from powerd.quantities import show_bytes
from powerd.store import files
from powerd.store.blobs import Blobs
from powerd.store.collect import references
from powerd.store.files import naming
from powerd.store.ingest import Ingest
from powerd.store.lock import DirectoryLock
from powerd.store.manifest import CONFIG_TYPE, MAX_MANIFEST, Layer, StoredModel, build_manifest
from powerd.store.reader import Reader, Unreadable
from powerd.store.shelf import Shelf
from powerd.store.take import OnProgress


class Store:
    """Blobs and manifests. Every call blocks and may come from any thread, after open() and before close().

    `root` is ours to write; `lower` are other Ollama directories, searched after it in the order given. `quota` limits
    the bytes of our blobs.
    """

    def __init__(self, root: Path, lower: Sequence[Path] = (), quota: int | None = None) -> None:
        self.root = root
        #: What models() found wrong at its last call, a sentence each.
        self.problems: list[str] = []
        self._own = Shelf(root, own=True)
        self._lower = tuple(Shelf(path, own=False) for path in lower if path.resolve() != root.resolve())
        self._area = root / ".powerd" / "ingest"
        self._blobs = Blobs(self._own, self._area, quota)
        self._lock = DirectoryLock(root / ".powerd" / "lock")
        self._changing = threading.RLock()  # manifests, and the removal of blobs
        self._reader = Reader(self.blob)

    def open(self) -> None:
        """Lock the directory, make what is missing and clear what dead processes left behind.

        Raises Conflict naming the process that holds it, StoreFailed when it cannot be read and written.
        """
        with naming(self.root, "opening the store"):
            files.make_directories(self._area)
            self._lock.take()
            try:
                self._blobs.open()
            except BaseException:
                self._lock.release()
                raise

    def close(self) -> None:
        """Abort what is being written and let go of the directory."""
        self._blobs.close()
        self._lock.release()

    # ------------------------------------------------------------ reading

    def models(self) -> list[StoredModel]:
        """Every model that can be served, newest first; one of ours hides lower ones of the same name.

        What cannot be read is left out and told in `problems`; it never hides the rest.
        """
        found: list[StoredModel] = []
        problems: list[str] = []
        listed: dict[str, Path] = {}
        for shelf in (self._own, *self._lower):
            for path, name in shelf.names():
                if name is None:
                    problems.append(f"{path} cannot be read, or is not the place of a manifest")
                elif name.key not in listed:
                    listed[name.key] = path
                    try:
                        found.append(self._reader.model(name, path, read_only=not shelf.own))
                    except Unreadable as error:
                        problems.append(f"{name} in {shelf.root} is left out: {error}")
        self._reader.forget_all_but(listed.values())
        self.problems = problems
        return sorted(found, key=lambda model: model.modified, reverse=True)

    def find(self, name: Name) -> StoredModel | None:
        """The model of that name in any case, ours before lower ones; None when absent or not servable."""
        for shelf, spelled, path in self._places(name):
            try:
                return self._reader.model(spelled, path, read_only=not shelf.own)
            except Unreadable:
                return None
        return None

    def _places(self, name: Name) -> Iterator[tuple[Shelf, Name, Path]]:
        """Where manifests of that name are, in the order they count. A lower store that fails has none."""
        for shelf in (self._own, *self._lower):
            try:
                spelled = shelf.spell(name)
                path = shelf.manifest(spelled)
                present = os.path.lexists(path)
            except OSError as error:
                if shelf.own:
                    raise files.explain(error, shelf.root, "reading") from error
                continue
            if present:
                yield shelf, spelled, path

    def blob(self, digest: Digest) -> Path | None:
        """The file holding a blob, in our store or a lower one. Raises StoreFailed."""
        for shelf in (self._own, *self._lower):
            try:
                path = shelf.blob(digest)
            except OSError as error:
                if shelf.own:
                    raise files.explain(error, shelf.blobs, "reading") from error
                continue
            if path is not None:
                return path
        return None

    def free(self) -> int:
        """Bytes that may still be brought in: the disk's and the quota's, less what is promised to running ingests."""
        return self._blobs.free()

    # ------------------------------------------------------------ bringing bytes in

    def ingest(self, digest: Digest | None, size: int | None) -> Ingest:
        """Begin a blob that should have this digest and size, where they are known. Raises NoSpace, StoreFailed."""
        return self._blobs.ingest(digest, size)

    def put(self, data: bytes) -> tuple[Digest, int]:
        """Store a small blob whole; one that is here already is left as it is. Raises NoSpace, StoreFailed."""
        return self._blobs.put(data)

    def take(
        self, path: Path, expect: Digest | None = None, on_progress: OnProgress = lambda _done, _total: None
    ) -> Digest:
        """Bring a local file in as a blob: reflink, safe hard link or copy; hashed unless it has not changed since.

        `on_progress` hears bytes done and bytes in all, in the calling thread, and may raise to stop. Raises BadRequest
        for another digest than `expect`, Conflict when the file changes meanwhile, NoSpace, StoreFailed.
        """
        return self._blobs.take(path, expect, on_progress)

    # ------------------------------------------------------------ manifests

    def publish(self, name: Name, layers: Sequence[Layer], config: dict[str, object]) -> StoredModel:
        """Make a model of blobs that are here, visible at once and whole. The same model again writes nothing.

        Raises Conflict when the result could not be served (a blob is gone, weights are unsound), NoSpace, StoreFailed.
        """
        digest, size = self.put(msgspec.json.encode(config) + b"\n")
        data = build_manifest(Layer(CONFIG_TYPE, digest, size), layers)
        with self._changing, naming(self.root, "writing a manifest in", len(data)):
            spelled = self._own.spell(name)
            path = self._own.manifest(spelled)
            try:
                _, parts = self._reader.assemble(spelled, data, modified=0.0, read_only=False)
                self._write_manifest(path, data)
                model = self._reader.model(spelled, path, read_only=False)
            except Unreadable as error:
                raise Conflict(f"{name} cannot be published: {error}") from None
            for part, _, _ in parts:
                self._blobs.leases.release(part)
            return model

    def copy(self, source: Name, destination: Name) -> None:
        """Give a model, ours or a lower store's, a second name in our store; only the manifest is copied.

        Raises NotFound, NoSpace, StoreFailed.
        """
        with self._changing, naming(self.root, "writing a manifest in"):
            _, _, path = next(self._places(source), (None, None, None))
            if path is None:
                raise NotFound(f'model "{source}" not found')
            target = self._own.manifest(self._own.spell(destination))
            if target != path:
                self._write_manifest(target, files.read_small(path, MAX_MANIFEST))

    def _write_manifest(self, path: Path, data: bytes) -> None:
        if files.stamp(path, follow=False) is not None and files.read_small(path, MAX_MANIFEST) == data:
            return
        try:
            files.make_directories(path.parent)
            files.replace_file(self._area / f"{uuid.uuid4().hex}.manifest", path, data, files.MANIFEST_MODE)
        except OSError:
            self._remove_empty(path.parent)
            raise

    # ------------------------------------------------------------ taking away

    def remove_manifest(self, name: Name) -> bool:
        """Take a name of ours away and leave its blobs to collect(). Returns whether it was there."""
        with self._changing, naming(self.root, "deleting from"):
            path = self._own.manifest(self._own.spell(name))
            if not os.path.lexists(path):
                return False
            path.unlink()
            files.sync_directory(path.parent)
            self._remove_empty(path.parent)
            return True

    def delete(self, name: Name, keep: Collection[Digest] = ()) -> list[Digest]:
        """Delete a model of ours and the blobs that no other manifest, lease or `keep` needs; returns those.

        Raises NotFound, Forbidden for a model of a lower store (naming its directory), StoreFailed.
        """
        with self._changing, naming(self.root, "deleting from"):
            shelf, _, path = next(self._places(name), (None, None, None))
            if shelf is None or path is None:
                raise NotFound(f"model '{name}' not found")
            if not shelf.own:
                raise Forbidden(f"model '{name}' belongs to {shelf.root}, which powerd only reads; delete it there")
            named = references([path])
            self.remove_manifest(name)
            return self._remove_blobs(named or set(), keep)

    def collect(self, keep: Collection[Digest], *, grace: float = 3600.0, fraction: float = 1.0) -> list[Digest]:
        """Delete the blobs that nothing has needed for `grace` seconds of this process's life; returns them.

        Needed means: named by a manifest of ours, in `keep`, or brought in within the last hour. Time counts from the
        call that first finds a blob unneeded, so neither a restart nor a clock that jumps deletes anything. While one
        manifest of ours cannot be read, nothing is deleted. Raises StoreFailed, and Conflict instead of deleting more
        than `fraction` of our bytes at once.
        """
        with self._changing, naming(self.root, "collecting in"):
            needed = self._needed()
            if needed is None:
                return []
            sizes = dict(self._own.digests())
            due = self._blobs.leases.unneeded(sizes.keys() - needed - set(keep), grace)
            doomed, total = sum(sizes[digest] for digest in due), sum(sizes.values())
            if doomed > fraction * total:
                raise Conflict(
                    f"{len(due)} blobs of {show_bytes(doomed)} in {self.root} are no longer needed, more than "
                    f"max_delete_fraction ({fraction:g}) of the store's {show_bytes(total)}; nothing was deleted"
                )
            return self._remove_blobs(due, keep)

    def _needed(self) -> set[Digest] | None:
        """What our manifests name; None when one of them cannot be read, and then nothing may be deleted."""
        listed = list(self._own.names())
        if any(name is None for _, name in listed):
            return None
        return references([path for path, _ in listed])

    def _remove_blobs(self, digests: set[Digest], keep: Collection[Digest]) -> list[Digest]:
        needed = self._needed()
        return [] if needed is None else self._blobs.remove(digests - needed - set(keep))

    def _remove_empty(self, directory: Path) -> None:
        while directory != self._own.manifests:
            try:
                directory.rmdir()
            except OSError:
                return
            with contextlib.suppress(OSError):
                files.sync_directory(directory.parent)
            directory = directory.parent
