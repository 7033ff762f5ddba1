"""History: every accepted models.yaml, numbered, on disk.

`<state>/generations/<number>.yaml` holds the bytes as they were accepted. Append-only but for the oldest, which go when
more than `keep` are there. A generation that cannot be read is passed over with a warning, never repaired.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import structlog

from powerd.errors import StoreFailed

log = structlog.get_logger(__name__)


class History:
    """The one writer of the generations directory. Blocking; callers use a thread."""

    def __init__(self, directory: Path, keep: int) -> None:
        self._directory = directory
        self._keep = keep

    def latest(self) -> tuple[int, str] | None:
        """Number and text of the newest readable generation, or None when there is none."""
        for number in sorted(self._numbers(), reverse=True):
            try:
                return number, self._path(number).read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                log.warning("generation unreadable", generation=number, error=str(error))
        return None

    def accept(self, text: str) -> int:
        """Keep `text` as the next generation and return its number; equal to the newest = that one's number.

        Raises StoreFailed when the state directory cannot take it.
        """
        newest = self.latest()
        if newest is not None and newest[1] == text:
            return newest[0]
        number = max(self._numbers(), default=0) + 1
        try:
            self._write(self._path(number), text.encode())
        except OSError as error:
            raise StoreFailed(f"cannot keep generation {number} in {self._directory}: {error.strerror}") from error
        for old in sorted(self._numbers())[: -self._keep]:
            self._path(old).unlink(missing_ok=True)
        return number

    def _numbers(self) -> list[int]:
        if not self._directory.is_dir():
            return []
        return [
            int(path.stem) for path in self._directory.glob("*.yaml") if path.stem.isascii() and path.stem.isdigit()
        ]

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:06}.yaml"

    def _write(self, path: Path, data: bytes) -> None:
        """Temporary file, fsync, rename, fsync of the directory: whole or not at all."""
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix=".new-", delete=False) as file:
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
