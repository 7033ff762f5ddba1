"""History: every accepted generation, numbered, on disk, and the digests it resolved to.

    <state>/generations/000007.json            the Record: every text of it, when and why; never changed
    <state>/generations/000007.resolved.json   what its models resolved to, written anew as that becomes known

Append-only but for the oldest, which go when more than `keep` are there. A record that cannot be read is passed over
with a warning, never repaired.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from powerd.digest import Digest
from powerd.errors import StoreFailed
from powerd.reconcile.generations.records import Record, Resolved, blobs
from powerd.store.failpoints import reach
from powerd.store.files import read_small

log = structlog.get_logger(__name__)

T = TypeVar("T")

_MAX_RECORD = 64 << 20

#: What the names of files begin with that are not complete.
_HALF = ".new-"


class History:
    """The one writer of the generations directory. Blocking; callers use a thread."""

    def __init__(self, directory: Path, keep: int) -> None:
        self.keep = keep
        self._directory = directory

    # ------------------------------------------------------------ reading

    def latest(self) -> Record | None:
        """The newest readable generation, or None when there is none."""
        return next(iter(self.records()), None)

    def records(self) -> list[Record]:
        """Every readable generation, the newest first."""
        return [record for number in sorted(self._numbers(), reverse=True) if (record := self.record(number))]

    def record(self, number: int) -> Record | None:
        """One generation; None when it is not kept or cannot be read."""
        path = self._path(number)
        record = self._read(path, Record)
        if record is not None and record.number != number:
            log.warning("generation passed over", path=str(path), error=f"it says it is number {record.number}")
            return None
        return record

    def resolved(self, number: int) -> dict[str, Resolved]:
        """What each model of a generation resolved to, as far as that is known."""
        return self._read(self._resolved_path(number), dict[str, Resolved]) or {}

    def kept_blobs(self) -> set[Digest]:
        """The blobs that it takes to serve any kept generation again."""
        kept: set[Digest] = set()
        for number in self._numbers():
            for name, written in self.resolved(number).items():
                try:
                    kept |= blobs(written)
                except ValueError as error:
                    log.warning("resolved model passed over", generation=number, model=name, error=str(error))
        return kept

    def _read(self, path: Path, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode(read_small(path, _MAX_RECORD), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("generation passed over", path=str(path), error=str(error))
            return None

    def _numbers(self) -> list[int]:
        if not self._directory.is_dir():
            return []
        stems = (path.name.removesuffix(".json") for path in self._directory.glob("*.json"))
        return [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]

    # ------------------------------------------------------------ writing

    def next_number(self) -> int:
        """The number of the next generation; numbers never come back."""
        return max(self._numbers(), default=0) + 1

    def accept(self, record: Record, known: Mapping[str, Resolved]) -> None:
        """Keep a generation, with what its models are known to resolve to already, and forget the oldest.

        The record comes last: with it the generation is accepted. Raises StoreFailed.
        """
        if known or self._resolved_path(record.number).exists():
            self.resolve(record.number, known)
        reach("history.before_record")
        self._write(self._path(record.number), msgspec.json.encode(record), f"generation {record.number}")
        reach("history.after_record")
        for old in sorted(self._numbers())[: -self.keep]:
            self._forget(old)

    def _forget(self, old: int) -> None:
        """One that cannot be deleted stays: the generation it makes room for is accepted all the same."""
        try:
            self._path(old).unlink(missing_ok=True)
            reach("history.after_forgetting")
            self._resolved_path(old).unlink(missing_ok=True)
        except OSError as error:
            log.warning("old generation not forgotten", generation=old, error=error.strerror)

    def resolve(self, number: int, known: Mapping[str, Resolved]) -> None:
        """Write down what the models of a generation resolved to, whole. Raises StoreFailed."""
        reach("history.before_resolved")
        data = msgspec.json.format(msgspec.json.encode(dict(known)), indent=1)
        self._write(self._resolved_path(number), data, f"what generation {number} resolved to")
        reach("history.after_resolved")

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:06}.json"

    def _resolved_path(self, number: int) -> Path:
        return self._directory / f"{number:06}.resolved.json"

    def _write(self, path: Path, data: bytes, what: str) -> None:
        try:
            self._replace(path, data)
        except OSError as error:
            raise StoreFailed(f"cannot keep {what} in {self._directory}: {error.strerror}") from error

    def sweep(self) -> None:
        """Delete what a kill left half written. For the one writer, before it writes. Blocking."""
        for half in self._directory.glob(f"{_HALF}*"):
            half.unlink(missing_ok=True)

    def _replace(self, path: Path, data: bytes) -> None:
        """Temporary file, fsync, rename, fsync of the directory: whole or not at all."""
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix=_HALF, delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
        temporary.rename(path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
