"""Store: the models on this machine. One directory of our own over any number of lower ones, which are only read."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from powerd.digest import Digest
from powerd.errors import BadRequest, Conflict, Forbidden, NotFound
from powerd.names import Name
from powerd.quantities import show_bytes
from powerd.store import files
from powerd.store.blobs import PARTIAL_SECONDS, Blobs
from powerd.store.collect import Lease, references
from powerd.store.failpoints import reach
from powerd.store.files import naming
from powerd.store.fsck import Fsck, FsckReport
from powerd.store.ingest import Ingest
from powerd.store.lock import DirectoryLock
from powerd.store.lower import LowerStores
from powerd.store.manifest import CONFIG_TYPE, MAX_MANIFEST, Layer, StoredModel, build_manifest, parse_manifest
from powerd.store.partial import Partial, begun
from powerd.store.reader import Reader, Remote, Unreadable
from powerd.store.shelf import Shelf
from powerd.store.take import OnProgress
from powerd.store.tree import ManifestTree
from powerd.store.usage import Usage, measure


class Store:
    """Blobs and manifests. Every call blocks and may come from any thread, after open() and before close().

    `root` is ours to write; `lower` are other Ollama directories, searched after it in the order given, and after them
    those that were adopted. `quota` limits the bytes of our blobs.
    """

    def __init__(self, root: Path, lower: Sequence[Path] = (), quota: int | None = None) -> None:
        self.root = root
        #: What models() found wrong at its last call, a sentence each.
        self.problems: list[str] = []
        #: Hosts of the models that run elsewhere, by the key of their name.
        self.remotes: dict[str, str] = {}
        self._own = Shelf(root, own=True)
        self._blobs = Blobs(self._own, quota)
        self._lock = DirectoryLock(root / ".powerd" / "lock")
        self._changing = threading.RLock()  # manifests, and the removal of blobs
        self.lower = LowerStores(root, lower, self._blobs.area, self._changing)
        self._tree = ManifestTree(self._own, self._blobs.area)
        self._reader = Reader(self.blob)

    def open(self) -> None:
        """Lock the directory, make what is missing and clear what dead processes left behind.

        Raises Conflict naming the process that holds it, StoreFailed when it cannot be read and written.
        """
        with naming(self.root, "opening the store"):
            files.make_directories(self._blobs.area)
            self._lock.take()
            try:
                self._blobs.open()
                self.lower.open()
            except BaseException:
                self._lock.release()
                raise

    def peek(self) -> None:
        """Read only, beside a process that may hold the directory: no lock is taken and not a mark is written."""
        self._blobs.verified.keeps = False
        self.lower.open()

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
        remotes: dict[str, str] = {}
        listed: dict[str, Path] = {}
        for shelf in (self._own, *self.lower.shelves):
            for path, name in shelf.names():
                if name is None:
                    problems.append(f"{path} cannot be read, or is not the place of a manifest")
                elif name.key not in listed:
                    listed[name.key] = path
                    try:
                        found.append(self._reader.model(name, path, read_only=not shelf.own))
                    except Unreadable as error:
                        if isinstance(error, Remote):
                            remotes[name.key] = error.host
                        problems.append(f"{name} in {shelf.root} is left out: {error}")
        self._reader.forget_all_but(listed.values())
        self.problems, self.remotes = problems, remotes
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
        for shelf in (self._own, *self.lower.shelves):
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
        for shelf in (self._own, *self.lower.shelves):
            try:
                path = shelf.blob(digest)
            except OSError as error:
                if shelf.own:
                    raise files.explain(error, shelf.blobs, "reading") from error
                continue
            if path is not None:
                return path
        return None

    def owns(self, name: Name) -> bool:
        """Whether our own store has a manifest of that name, servable or not. Raises StoreFailed."""
        with naming(self.root, "reading"):
            return os.path.lexists(self._own.manifest(self._own.spell(name)))

    def free(self) -> int:
        """Bytes that may still be brought in: the disk's and the quota's, less what is promised to running ingests."""
        return self._blobs.free()

    def usage(self) -> Usage:
        """Where our bytes are. Raises StoreFailed."""
        with naming(self.root, "measuring"):
            return measure(self._own, self._blobs, self.lower.shelves)

    # ------------------------------------------------------------ trust

    def check_blob(self, digest: Digest) -> None:
        """See that a blob is what its name says, before it is loaded or named; hashed only when its file has changed.

        Raises Conflict for a missing or corrupt one, StoreFailed.
        """
        if not self.intact(digest):
            here = self.blob(digest) is not None
            raise Conflict(f"blob {digest} is {'corrupt' if here else 'missing'}, re-pull")

    def intact(self, digest: Digest) -> bool:
        """Whether a blob is here and is what its name says: only then need nobody fetch it. Raises StoreFailed."""
        path = self.blob(digest)
        if path is None:
            return False
        try:
            return self._blobs.verified.right(digest, path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise files.explain(error, path, "reading") from error

    def fsck(self, *, repair: bool = False, on_progress: OnProgress = lambda _done, _total: None) -> FsckReport:
        """Read every byte of ours and say what is wrong. `repair` moves corrupt blobs to `.powerd/corrupt/`.

        `on_progress` hears bytes read and bytes in all, and may raise to stop. Raises StoreFailed.
        """
        return Fsck(self._own, self._blobs, self.blob, repair=repair, on_progress=on_progress).run()

    # ------------------------------------------------------------ keeping

    def lease(self, digests: Iterable[Digest]) -> Lease:
        """Keep blobs, here already or about to come, from being deleted until the Lease is closed (or left).

        Who finds a blob here after taking the lease may count on it.
        """
        return self._blobs.leases.lease(digests)

    def pin(self, digests: Iterable[Digest]) -> None:
        """Keep exactly these blobs besides those named or leased, as kept generations need; replaces earlier pins."""
        self._blobs.leases.pin(digests)

    # ------------------------------------------------------------ bringing bytes in

    def ingest(self, digest: Digest | None, size: int | None) -> Ingest:
        """Begin a blob that should have this digest and size, where they are known. Raises NoSpace, StoreFailed."""
        return self._blobs.ingest(digest, size)

    def partial(self, digest: Digest | None, size: int | None) -> Partial:
        """Begin, or go on with, a blob that comes in pieces. Raises NoSpace, StoreFailed, Conflict when under way."""
        return self._blobs.partial(digest, size)

    def put(self, data: bytes) -> tuple[Digest, int]:
        """Store a small blob whole; one that is here already is left as it is. Raises NoSpace, StoreFailed."""
        return self._blobs.put(data)

    def take(
        self,
        path: Path,
        expect: Digest | None = None,
        on_progress: OnProgress = lambda _done, _total: None,
        *,
        copy: bool = True,
    ) -> Digest:
        """Bring a local file in as a blob: reflink, safe hard link or copy; hashed unless it has not changed since.

        `on_progress` hears bytes done and bytes in all, in the calling thread, and may raise to stop. Raises BadRequest
        for another digest than `expect`, Conflict when the file changes meanwhile or would have to be copied and `copy`
        is False, NoSpace, StoreFailed.
        """
        return self._blobs.take(path, expect, on_progress, copy=copy)

    # ------------------------------------------------------------ manifests

    def publish(self, name: Name, layers: Sequence[Layer], config: dict[str, object]) -> StoredModel:
        """Make a model of blobs that are here, visible at once and whole. The same model again writes nothing.

        Raises Conflict when the result could not be served (a blob is gone or corrupt, weights are unsound), NoSpace,
        StoreFailed.
        """
        digest, size = self.put(msgspec.json.encode(config) + b"\n")
        return self.publish_manifest(name, build_manifest(Layer(CONFIG_TYPE, digest, size), layers))

    def publish_manifest(self, name: Name, data: bytes) -> StoredModel:
        """Make a model of a manifest's bytes, kept as they are, and of blobs that are here.

        Raises BadRequest("invalid manifest: …") for bytes that are none, else as publish() does.
        """
        try:
            manifest = parse_manifest(data)
        except ValueError as error:
            raise BadRequest(str(error)) from None
        parts = {layer.digest for layer in (manifest.config, *manifest.layers)}
        with self.lease(parts):
            self._check_parts(name, parts)
            with self._changing, naming(self.root, "writing a manifest in", len(data)):
                model = self._publish(name, data)
        for part in parts:
            self._blobs.leases.release(part)
        return model

    def _check_parts(self, name: Name, parts: Iterable[Digest]) -> None:
        """Look at every byte that has changed since it was last looked at, before anything waits for us."""
        for part in sorted(parts):
            try:
                self.check_blob(part)
            except Conflict as error:
                raise Conflict(f"{name} cannot be published: {error}") from None

    def _publish(self, name: Name, data: bytes) -> StoredModel:
        spelled = self._own.spell(name)
        path = self._own.manifest(spelled)
        try:
            self._reader.assemble(spelled, data, modified=0.0, read_only=False)
            reach("publish.before_manifest")
            self._tree.write(path, data)
            reach("publish.after_manifest")
            return self._reader.model(spelled, path, read_only=False)
        except Unreadable as error:
            raise Conflict(f"{name} cannot be published: {error}") from None

    def manifest_bytes(self, name: Name) -> bytes:
        """A model's manifest as it is on disk, ours before lower ones. Raises NotFound, StoreFailed."""
        with naming(self.root, "reading a manifest in"):
            _, _, path = next(self._places(name), (None, None, None))
            if path is None:
                raise NotFound(f'model "{name}" not found')
            return files.read_small(path, MAX_MANIFEST)

    def begun(self, digest: Digest) -> int:
        """Bytes on disk of a download that was not finished. Raises StoreFailed."""
        with naming(self._blobs.area, "reading"):
            return begun(self._blobs.area, digest)

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
                reach("copy.before_manifest")
                self._tree.write(target, files.read_small(path, MAX_MANIFEST))
                reach("copy.after_manifest")

    # ------------------------------------------------------------ taking away

    def remove_manifest(self, name: Name) -> bool:
        """Take a name of ours away and leave its blobs to collect(). Returns whether it was there."""
        with self._changing, naming(self.root, "deleting from"):
            return self._tree.remove(self._own.manifest(self._own.spell(name)))

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
            reach("delete.before_blobs")
            return self._remove_blobs(named or set(), keep)

    def remove_blob(self, digest: Digest) -> bool:
        """Delete one blob of ours that nothing needs; False when it is not here. Raises Conflict, StoreFailed."""
        with self._changing, naming(self.root, "deleting from"):
            if self._own.blob(digest) is None:
                return False
            self._blobs.leases.release(digest)
            if not self._remove_blobs({digest}, ()):
                raise Conflict(f"blob {digest} is needed by a model or by work under way; it stays")
            return True

    def collect(self, keep: Collection[Digest], *, grace: float = 3600.0, fraction: float = 1.0) -> list[Digest]:
        """Delete the blobs that nothing has needed for `grace` seconds of this process's life; returns them.

        Needed means: named by a manifest of ours, in `keep`, pinned, under a lease, or brought in within the last hour.
        Time counts from the call that first finds a blob unneeded, so neither a restart nor a clock that jumps deletes
        anything. While one manifest of ours cannot be read, no blob is deleted. Raises StoreFailed, and Conflict
        instead of deleting more than `fraction` of our bytes at once; uploads that no manifest ever named do not count,
        unless it is 0.
        """
        with self._changing, naming(self.root, "collecting in"):
            self._blobs.clear_leftovers(PARTIAL_SECONDS)
            reach("collect.before_mark")
            needed = self._tree.needed()
            if needed is None:
                return []
            self._blobs.leases.named(needed)
            sizes = dict(self._own.digests())
            due = self._blobs.leases.unneeded(sizes.keys() - needed - set(keep), grace)
            reach("collect.after_mark")
            named = [sizes[digest] for digest in due if not self._blobs.leases.nameless(digest) or not fraction]
            doomed, total = sum(named), sum(sizes.values())
            if doomed > fraction * total:
                raise Conflict(
                    f"{len(named)} blobs of {show_bytes(doomed)} in {self.root} are no longer needed, more than "
                    f"max_delete_fraction ({fraction:g}) of the store's {show_bytes(total)}; nothing was deleted"
                )
            return self._remove_blobs(due, keep)

    def clear_leftovers(self, idle: float = PARTIAL_SECONDS) -> int:
        """Remove what interrupted work left, and unfinished downloads nobody wrote to for `idle` seconds.

        Returns the bytes. Raises StoreFailed.
        """
        with self._changing, naming(self.root, "collecting in"):
            for digest in self._blobs.verified.marked():
                if self.blob(digest) is None:
                    self._blobs.verified.forget(digest)
            return self._blobs.clear_leftovers(idle)

    def unreadable(self) -> list[Path]:
        """Manifests of ours that cannot be read, and what lies among them: while there is one, no blob is deleted."""
        return self._tree.unreadable()

    def _remove_blobs(self, digests: set[Digest], keep: Collection[Digest]) -> list[Digest]:
        needed = self._tree.needed()
        return [] if needed is None else self._blobs.remove(digests - needed - set(keep))
