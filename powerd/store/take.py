"""Taking a local file into the store: shared where that is safe, else copied; hashed in any case."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from powerd.digest import Digest
from powerd.errors import Conflict
from powerd.store.files import naming
from powerd.store.ingest import CHUNK, Ingest

OnProgress = Callable[[int, int], None]


def take_open_file(
    source: int, path: Path, ingest: Ingest, make_room: Callable[[int], None], progress: OnProgress
) -> Digest:
    """Bring the open regular file `source` (found at `path`) in through `ingest`, and commit.

    `make_room` is asked before bytes are copied; `progress` hears (bytes done, bytes in all) about every 4 MiB and may
    raise to stop. Raises BadRequest when the bytes are not the promised ones, Conflict when the file changes meanwhile,
    NoSpace, StoreFailed.
    """
    before = os.fstat(source)
    total = before.st_size
    if ingest.share(source, path):
        ingest.read_back(lambda done: progress(done, total))
    else:
        make_room(total)
        _copy(source, path, ingest, total, progress)
    after = os.fstat(source)
    if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size) or ingest.written != total:
        raise Conflict(f"{path} changed while it was read")
    return ingest.commit()


def _copy(source: int, path: Path, ingest: Ingest, total: int, progress: OnProgress) -> None:
    while ingest.written < total:
        with naming(path, "reading"):
            chunk = os.pread(source, min(CHUNK, total - ingest.written), ingest.written)
        if not chunk:
            return
        ingest.write(chunk)
        progress(ingest.written, total)
