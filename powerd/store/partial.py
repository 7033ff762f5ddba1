"""Partial: a blob that arrives in pieces, in any order, over as many lives of this process as it takes.

<store>/.powerd/ingest/sha256-<64 hex>/data    the bytes, with holes
<store>/.powerd/ingest/sha256-<64 hex>/have    JSON: the size, and which ranges of it are there

`have` is written after the bytes it speaks of and never synced: after a power cut it may claim what the disk lost. The
digest tells, for every byte is hashed before the blob becomes visible.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from powerd.digest import Digest
from powerd.errors import BadRequest, Conflict
from powerd.store.commit import publish
from powerd.store.descriptor import Descriptor
from powerd.store.failpoints import reach
from powerd.store.files import BLOB_MODE, DIRECTORY_MODE, naming, read_small, write_all
from powerd.store.ranges import Ranges, Span

_CHUNK = 4 << 20
_MAX_STATE = 1 << 20


class _Have(msgspec.Struct, forbid_unknown_fields=True):
    size: int
    have: list[Span]


class Partial:
    """Bytes on their way in. Threads may call it; what is claimed to be here is on file.

    With a digest, close() leaves what came for the next try; without one there is nothing to recognise it by.
    """

    def __init__(self, directory: Path, blobs: Path, digest: Digest | None, size: int | None) -> None:
        self.path = directory
        self.size = size
        #: Asked for the bytes to come once they are known. Raises NoSpace.
        self.make_room: Callable[[int], None] = lambda _: None
        #: Called before the blob becomes visible.
        self.on_publish: Callable[[Digest], None] = lambda _: None
        #: Called once, with the digest that was committed, if any, and the file's last status.
        self.on_end: Callable[[Digest | None, os.stat_result], None] = lambda _digest, _status: None
        self._blobs = blobs
        self._promised = digest
        self._have = Ranges()
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._writing = threading.RLock()
        self._hashing = threading.RLock()
        with naming(directory, "starting to write", size or 0):
            self._file = Descriptor(self._open(), directory, "download")
            self._recall()

    def _open(self) -> int:
        reach("ingest.before_create")
        self.path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        fd = os.open(self.data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise Conflict(f"{self._promised} is being downloaded already") from None
        return fd

    def _recall(self) -> None:
        """Take over what an earlier life left; anything else than a sound record of it begins anew."""
        try:
            left = msgspec.json.decode(read_small(self.path / "have", _MAX_STATE), type=_Have)
            have = Ranges(left.have)
            sound = self.size in {None, left.size} and (not have.spans or have.spans[-1][1] <= left.size)
        except (OSError, ValueError, msgspec.MsgspecError):
            sound = False
        if sound and os.fstat(self._file.fd).st_size >= (have.spans[-1][1] if have.spans else 0):
            self._have, self.size = have, left.size
        else:
            os.ftruncate(self._file.fd, 0)

    # ------------------------------------------------------------ what is here

    @property
    def data(self) -> Path:
        """The file of the bytes, for looking at them before commit()."""
        return self.path / "data"

    @property
    def written(self) -> int:
        """Bytes here."""
        with self._writing:
            return self._have.total

    @property
    def remaining(self) -> int:
        """Bytes still to come, as far as the size is known."""
        return max(0, (self.size or 0) - self.written)

    def missing(self, size: int) -> list[Span]:
        """The ranges still to come of a file of `size` bytes."""
        with self._writing:
            return self._have.missing(size)

    @property
    def digest(self) -> Digest:
        """The digest of the bytes hashed so far."""
        return Digest(self._hash.hexdigest())

    # ------------------------------------------------------------ bringing bytes in

    def expect(self, size: int) -> None:
        """Learn how large the blob will be. Raises NoSpace."""
        with self._writing:
            if self.size != size:
                self.size = None
                self.make_room(size - self._have.total)
                self.size = size

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes at their place. Raises BadRequest past the known size, NoSpace, StoreFailed."""
        with self._writing, naming(self.path, "writing", self.remaining or len(data)):
            if self.size is not None and offset + len(data) > self.size:
                raise BadRequest(f"longer than the declared {self.size} bytes")
            reach("ingest.before_write")
            os.lseek(self._file.fd, offset, os.SEEK_SET)
            write_all(self._file.fd, data)
            reach("ingest.after_write")
            self._have.add(offset, offset + len(data))
            self._remember()

    def _remember(self) -> None:
        if self._promised is None or self.size is None:
            return
        state = msgspec.json.encode(_Have(self.size, list(self._have.spans)))
        temporary = self.path / "have.new"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            write_all(fd, state)
        finally:
            os.close(fd)
        temporary.rename(self.path / "have")

    def hash_more(self) -> bool:
        """Hash the next few MiB of what is here without a gap; says whether there were any. Raises StoreFailed."""
        with self._hashing, naming(self.path, "reading"):
            with self._writing:
                ready = self._have.prefix - self._hashed
            if ready <= 0:
                return False
            chunk = os.pread(self._file.fd, min(_CHUNK, ready), self._hashed)
            if not chunk:
                raise OSError(errno.EIO, "holds fewer bytes than were written to it", str(self.data))
            self._hash.update(chunk)
            self._hashed += len(chunk)
            return True

    def restart(self) -> None:
        """Forget all bytes and begin anew. Raises StoreFailed."""
        with self._hashing, self._writing, naming(self.path, "truncating"):
            os.ftruncate(self._file.fd, 0)
            (self.path / "have").unlink(missing_ok=True)
            self._have, self._hash, self._hashed = Ranges(), hashlib.sha256(), 0

    # ------------------------------------------------------------ the end

    def commit(self) -> Digest:
        """Check, sync and publish the blob. Raises BadRequest for a wrong size or digest, NoSpace, StoreFailed.

        The partial has ended then in any case: pages that failed to sync once must not be taken for written.
        """
        with self._hashing, self._writing:
            digest = self.digest
            try:
                self._check(digest)
                with naming(self.path, "syncing", self._hashed):
                    self._publish(digest)
            except BaseException:
                self.discard()
                raise
            with contextlib.suppress(OSError):  # what is left over goes when the store is next opened
                shutil.rmtree(self.path)
            self._close(digest)
        return digest

    def _check(self, digest: Digest) -> None:
        size = self._have.prefix if self.size is None else self.size
        if (self._have.total, self._have.prefix, self._hashed) != (size, size, size):
            raise BadRequest(f"size mismatch, expected {size} bytes, got {self._have.total}")
        if self._promised is not None and digest != self._promised:
            raise BadRequest(f'digest mismatch, expected "{self._promised}", got "{digest}"')

    def _publish(self, digest: Digest) -> None:
        os.ftruncate(self._file.fd, self._hashed)
        os.fchmod(self._file.fd, BLOB_MODE)
        publish(self._file.fd, self.data, self._blobs, digest, self.on_publish)

    def close(self) -> None:
        """End it for this time and keep what came, if there is any and it can be recognised; harmless after the end."""
        if self._promised is None or self.size is None or not self.written:
            self.discard()
            return
        with self._hashing, self._writing:
            if self._file.open:
                self._close(None)

    def discard(self) -> None:
        """Remove every trace; harmless after the end."""
        with self._hashing, self._writing:
            if not self._file.open:
                return
            with contextlib.suppress(OSError):  # what cannot be removed goes when the store is next opened
                shutil.rmtree(self.path)
            self._close(None)

    #: What the store calls on every ingest under way when it closes.
    abort = close

    def _close(self, digest: Digest | None) -> None:
        self.on_end(digest, self._file.close())


def begun(area: Path, digest: Digest) -> int:
    """Bytes on disk of an unfinished blob below `area`. Raises OSError."""
    try:
        return (area / digest.blob_name / "data").lstat().st_blocks * 512
    except FileNotFoundError:
        return 0
