"""Ingest: bytes on their way into the store, hashed as they come, visible only after commit."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from powerd.digest import Digest
from powerd.errors import BadRequest
from powerd.store.commit import publish
from powerd.store.descriptor import Descriptor
from powerd.store.failpoints import reach
from powerd.store.files import BLOB_MODE, naming, regular, write_all

CHUNK = 4 << 20
_FICLONE = 0x40049409  # linux/fs.h

Progress = Callable[[int], None]


class Ingest:
    """A new blob being written into the store's ingest area.

    Use as a context manager: leaving it without commit() removes every trace. Threads may call it, one at a time wins.
    `digest` and `size` are what was promised; commit() holds the bytes to both.
    """

    def __init__(self, area: Path, blobs: Path, digest: Digest | None, size: int | None) -> None:
        self.path = area / uuid.uuid4().hex
        self.size = size
        self.written = 0
        self._blobs = blobs
        self._promised = digest
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()
        self._link = False
        #: Called before the blob becomes visible.
        self.on_publish: Callable[[Digest], None] = lambda _: None
        #: Called once, with the digest that was committed, if any, and the file's last status.
        self.on_end: Callable[[Digest | None, os.stat_result], None] = lambda _digest, _status: None
        with naming(self.path, "starting to write", size or 0):
            reach("ingest.before_create")
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._file = Descriptor(fd, self.path, "ingest")

    @property
    def digest(self) -> Digest:
        """The digest of the bytes so far."""
        return Digest(self._hash.hexdigest())

    @property
    def remaining(self) -> int:
        """Bytes still to come, as far as the size was promised."""
        return max(0, (self.size or 0) - self.written)

    def write(self, data: bytes) -> None:
        """Append. Raises BadRequest past the promised size, NoSpace, StoreFailed."""
        with self._lock:
            if self.size is not None and self.written + len(data) > self.size:
                raise BadRequest(f"longer than the declared {self.size} bytes")
            with naming(self.path, "writing", self.remaining or len(data)):
                reach("ingest.before_write")
                os.lseek(self._file.fd, self.written, os.SEEK_SET)  # over what a write that failed has left
                write_all(self._file.fd, data)
                reach("ingest.after_write")
            self._hash.update(data)
            self.written += len(data)

    def restart(self) -> None:
        """Forget all bytes and begin anew. Raises StoreFailed."""
        with self._lock, naming(self.path, "truncating"):
            os.ftruncate(self._file.fd, 0)
            os.lseek(self._file.fd, 0, os.SEEK_SET)
            self._hash = hashlib.sha256()
            self.written = 0

    def share(self, source: int, path: Path) -> bool:
        """Take the bytes of the open file `source` (found at `path`) without copying them, where that is safe.

        A reflink is: the clone is ours alone. A hard link is another name for the same bytes, so it is made only for a
        file of ours that nobody may write: else an edit there would change a blob under its digest. Returns whether
        the bytes are shared; they still have to be read back.
        """
        with self._lock, naming(self.path, "sharing"):
            reach("ingest.before_share")
            return self._clone(source) or self._hard_link(source, path)

    def _clone(self, source: int) -> bool:
        if sys.platform != "linux":
            return False
        try:
            fcntl.ioctl(self._file.fd, _FICLONE, source)
        except OSError:
            return False
        return True

    def _hard_link(self, source: int, path: Path) -> bool:
        status = os.fstat(source)
        if status.st_mode & 0o222 or status.st_uid != os.geteuid() or status.st_dev != self.path.parent.stat().st_dev:
            return False
        twin = self.path.with_suffix(".link")
        try:
            os.link(os.path.realpath(path), twin)
            with regular(twin, follow=False) as (fd, linked):
                if (linked.st_dev, linked.st_ino) != (status.st_dev, status.st_ino):
                    return False
                twin.rename(self.path)
                os.dup2(fd, self._file.fd, inheritable=False)
        except OSError:
            return False
        finally:
            twin.unlink(missing_ok=True)
        self._link = True
        return True

    def read_back(self, on_progress: Progress) -> None:
        """Hash bytes that were shared rather than written. Raises StoreFailed."""
        with naming(self.path, "reading"):
            while chunk := os.pread(self._file.fd, CHUNK, self.written):
                with self._lock:
                    self._hash.update(chunk)
                    self.written += len(chunk)
                on_progress(self.written)

    def commit(self) -> Digest:
        """Check, sync and publish the blob; an existing one is replaced by these checked bytes.

        Raises BadRequest for a wrong size or digest, NoSpace, StoreFailed; the ingest has ended then too, because
        pages that failed to sync once must not be taken for written.
        """
        with self._lock:
            digest = self.digest
            try:
                self._check(digest)
                with naming(self.path, "syncing", self.written):
                    self._publish(digest)
            except BaseException:
                self._discard()
                raise
            self._close(digest)
        return digest

    def _check(self, digest: Digest) -> None:
        with naming(self.path, "reading"):
            if os.fstat(self._file.fd).st_size != self.written:
                raise OSError(errno.EIO, "holds other bytes than were written to it", str(self.path))
        if self.size is not None and self.written != self.size:
            raise BadRequest(f"size mismatch, expected {self.size} bytes, got {self.written}")
        if self._promised is not None and digest != self._promised:
            raise BadRequest(f'digest mismatch, expected "{self._promised}", got "{digest}"')

    def _publish(self, digest: Digest) -> None:
        if not self._link:  # the mode of a linked file is its owner's
            os.fchmod(self._file.fd, BLOB_MODE)
        publish(self._file.fd, self.path, self._blobs, digest, self.on_publish)

    def abort(self) -> None:
        """Remove every trace; harmless after the ingest has ended."""
        with self._lock:
            self._discard()

    def _discard(self) -> None:
        if not self._file.open:
            return
        with contextlib.suppress(OSError):  # what cannot be removed goes when the store is next opened
            self.path.unlink(missing_ok=True)
        self._close(None)

    def _close(self, digest: Digest | None) -> None:
        self.on_end(digest, self._file.close())

    def __enter__(self) -> Ingest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()
