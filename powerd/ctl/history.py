"""The lines a person typed in conversations, kept from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

LIMIT = 100  # lines kept, as Ollama keeps
_PRIVATE = 0o600


def place(environ: Mapping[str, str]) -> Path:
    """The file of powerctl's history."""
    state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME", "/")) / ".local/state"
    return Path(state) / "power/history"


class History:
    """One file, a line an entry, the oldest first. A file that cannot be read or written keeps nothing, silently."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.enabled = path is not None

    def lines(self) -> list[str]:
        """The last lines; a file that has grown to twice as many is cut back to them."""
        if self._path is None:
            return []
        try:
            found = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
            if len(found) > 2 * LIMIT:
                self._written("".join(f"{line}\n" for line in found[-LIMIT:]))
        except OSError:
            return []
        return found[-LIMIT:]

    def add(self, entry: str) -> None:
        """Keep what was typed; each of its lines becomes an entry."""
        if self._path is None or not self.enabled or not entry.strip():
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=_PRIVATE)
            with self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.write("".join(f"{line}\n" for line in entry.splitlines()))
        except OSError:
            self.enabled = False

    def _written(self, text: str) -> None:
        if self._path is not None:
            new = self._path.with_name(f"{self._path.name}.new")
            new.touch(mode=_PRIVATE)
            new.write_text(text, encoding="utf-8")
            new.replace(self._path)
